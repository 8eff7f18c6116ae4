// A small program with something to initialise: it counts the words of a text and sorts them.
// NUMBER is found in the module and changed, so that each copy is another module.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

volatile const uint64_t number = 0x4e554d4245523031;

#define TEXT \
    "it is a truth universally acknowledged that a single man in possession of a good fortune must be in want of " \
    "a wife however little known the feelings or views of such a man may be on his first entering a neighbourhood " \
    "this truth is so well fixed in the minds of the surrounding families that he is considered as the rightful " \
    "property of some one or other of their daughters "

static const char text[] = TEXT TEXT TEXT TEXT TEXT TEXT TEXT TEXT TEXT TEXT "end";

struct word { const char *start; int length; int count; };
static struct word words[128];
static int used;
static uint64_t *table;

static int compare(const void *one, const void *other) {
    const struct word *a = one, *b = other;
    int shorter = a->length < b->length ? a->length : b->length;
    int order = memcmp(a->start, b->start, shorter);
    return order ? order : a->length - b->length;
}

__attribute__((export_name("wizer-initialize"))) void initialize(void) {
    for (const char *at = text; *at;) {
        const char *end = strchr(at, ' ');
        int length = end ? (int)(end - at) : (int)strlen(at), i = 0;
        while (i < used && (words[i].length != length || memcmp(words[i].start, at, length))) i++;
        words[i].start = at, words[i].length = length, words[i].count++;
        used += i == used;
        at += length + (end != 0);
    }
    qsort(words, used, sizeof *words, compare);
    table = malloc(512 * sizeof *table);
    uint64_t x = number;
    for (int i = 0; i < 512; i++) table[i] = (x = x * 6364136223846793005u + 1442695040888963407u);
}

__attribute__((export_name("count"))) int count(int i) { return i < used ? words[i].count : (int)table[i & 511]; }
