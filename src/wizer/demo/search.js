// A full-text search engine, the application of `wizer demo`: it builds its index when it starts, as many
// applications build something from their data, and then answers questions from it.
//
// `documents`, an object of titles and texts, is there before this script runs.

const stopWords = new Set(
  ("a an and are as at be but by can do does for from has have how i if in into is it its must my no not of on " +
    "or so such than that the then there they this to use used using was what when where which will with you")
    .split(" "),
);

// Cut the commonest English endings off, so that `raises`, `raised` and `raising` find each other.
function stem(word) {
  return word.length < 5 ? word : word.replace(/(?:ations?|ings?|ies|ied|edly|ed|es|ly|s)$/u, "");
}

function words(text) {
  return (text.toLowerCase().match(/[\p{Letter}_][\p{Letter}\p{Number}_]+/gu) ?? [])
    .filter((word) => !stopWords.has(word))
    .map(stem);
}

class Index {
  constructor(texts) {
    this.titles = Object.keys(texts);
    this.texts = Object.values(texts);
    this.postings = new Map(); // word -> Map(document -> how often)
    this.lengths = this.texts.map((text, document) => this.add(document, text));
    this.averageLength = this.lengths.reduce((sum, length) => sum + length, 0) / this.lengths.length;
  }

  add(document, text) {
    const found = words(`${this.titles[document]} ${text}`);
    for (const word of found) {
      let posting = this.postings.get(word);
      if (posting === undefined) this.postings.set(word, (posting = new Map()));
      posting.set(document, (posting.get(document) ?? 0) + 1);
    }
    return found.length;
  }

  // Okapi BM25 with its usual constants, k1 = 1.2 and b = 0.75.
  score(query) {
    const scores = new Map();
    for (const word of new Set(words(query))) {
      const posting = this.postings.get(word) ?? new Map();
      const rarity = Math.log(1 + (this.titles.length - posting.size + 0.5) / (posting.size + 0.5));
      for (const [document, count] of posting) {
        const norm = 0.25 + (0.75 * this.lengths[document]) / this.averageLength;
        const gain = (rarity * count * 2.2) / (count + 1.2 * norm);
        scores.set(document, (scores.get(document) ?? 0) + gain);
      }
    }
    return scores;
  }

  search(query, limit) {
    return [...this.score(query)]
      .sort((a, b) => b[1] - a[1] || a[0] - b[0])
      .slice(0, limit)
      .map(([document]) => this.titles[document]);
  }
}

const index = new Index(documents);
globalThis.search = (query, limit = 3) => index.search(query, limit).join(", ");
