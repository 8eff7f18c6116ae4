// An index of 20,000 words, made while the module is initialised.
const index = new Map();
for (let i = 0; i < 20000; i++) {
  index.set(`word${(i * 7919) % 104729}`, i);
}

export function greet(name) {
  return `hello, ${name}: ${index.size} words, the fifth at ${index.get("word5") ?? "no place"}`;
}
