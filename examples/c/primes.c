/*
 * Tells prime numbers: `primes N` prints the N-th. It sieves all numbers up to 16 million when it starts,
 * which is most of its running time, and the reason to freeze it after that.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <wizer.h>

#define LIMIT 16000000u

static uint8_t composite[LIMIT / 16]; /* a bit for every odd number */
static uint32_t starts;               /* how often the constructor has run: once, also after freezing */

static int is_composite(uint32_t odd) { return composite[odd / 16] >> (odd / 2 % 8) & 1; }

__attribute__((constructor)) static void count_starts(void) { starts++; }

static void sieve(void) {
  for (uint32_t prime = 3; prime * prime < LIMIT; prime += 2) {
    if (is_composite(prime)) {
      continue;
    }
    for (uint32_t odd = prime * prime; odd < LIMIT; odd += 2 * prime) {
      composite[odd / 16] |= (uint8_t)(1 << (odd / 2 % 8));
    }
  }
}

WIZER_INIT(sieve)

static int sieved(void) { return is_composite(9); }

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: primes N\n");
    return 2;
  }
  if (!sieved()) {
    sieve();
  }
  long nth = atol(argv[1]);
  uint32_t number = 2;
  for (long found = 1; found < nth && number < LIMIT; found += !is_composite(number)) {
    number += number == 2 ? 1 : 2;
  }
  printf("prime %ld is %u (constructors ran %u time)\n", nth, (unsigned)number, (unsigned)starts);
  return 0;
}
