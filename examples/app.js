// A small web application: it compiles its routes and templates when it starts, and then answers requests.
// `handle(method, path)` returns the response's body.

const routes = [];

function route(method, pattern, handler) {
  const expression = pattern.replace(/:(\w+)/g, "(?<$1>[^/]+)");
  routes.push({ method, expression: new RegExp(`^${expression}$`), handler });
}

function template(text) {
  const parts = text.split(/\{\{(\w+)\}\}/);
  return (values) => parts.map((part, at) => (at % 2 === 0 ? part : escape(String(values[part])))).join("");
}

function escape(text) {
  const entities = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return text.replace(/[&<>"]/g, (character) => entities[character]);
}

const products = Array.from({ length: 2000 }, (_, id) => ({
  id,
  name: `${["Anvil", "Bolt", "Crate", "Drill"][id % 4]} <${id}>`,
  price: ((id * 7919) % 10000) / 100,
}));

const byName = new Map(products.map((product) => [product.name.toLowerCase(), product]));
const byPrice = [...products].sort((a, b) => a.price - b.price || a.id - b.id);

const page = template("<h1>{{name}}</h1><p>{{price}} EUR</p>");

route("GET", "/products/:id", ({ id }) => page(products[Number(id)]));
route("GET", "/search/:name", ({ name }) => page(byName.get(decodeURIComponent(name).toLowerCase())));
route("GET", "/cheapest/:count", ({ count }) => byPrice.slice(0, Number(count)).map(page).join("\n"));

globalThis.handle = (method, path) => {
  for (const { method: verb, expression, handler } of routes) {
    const match = verb === method && expression.exec(path);
    if (match) return handler(match.groups);
  }
  return "404";
};
