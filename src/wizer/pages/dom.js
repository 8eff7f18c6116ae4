// Elements, numbers and tables. What comes from modules only ever becomes text, never markup.

const count = new Intl.NumberFormat("en");

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Shows what would command, or turn the direction of writing around.
function harmless(text) {
  return String(text).replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g,
    (found) => "\\u" + found.charCodeAt(0).toString(16).padStart(4, "0"),
  );
}

function hexadecimal(number) {
  return "0x" + number.toString(16);
}

function plural(number, what) {
  if (number === 1) return `1 ${what}`;
  return `${count.format(number)} ${what.endsWith("y") ? what.slice(0, -1) + "ies" : what + "s"}`;
}

function bytes(number) {
  const units = [
    [2 ** 30, "GiB"],
    [2 ** 20, "MiB"],
    [2 ** 10, "KiB"],
  ];
  for (const [size, unit] of units) {
    if (Math.abs(number) >= size) return `${(number / size).toFixed(number >= 100 * size ? 0 : 1)} ${unit}`;
  }
  return plural(number, "byte");
}

function exactly(number) {
  return number < 1024 ? bytes(number) : `${bytes(number)} (${count.format(number)} bytes)`;
}

function percent(part, whole) {
  if (!whole) return "";
  const share = (100 * part) / whole;
  return share > 0 && share < 0.1 ? "< 0.1 %" : `${share.toFixed(share < 10 ? 1 : 0)} %`;
}

function seconds(number) {
  return number >= 1 ? `${number.toFixed(2)} s` : `${(number * 1000).toFixed(number >= 0.01 ? 0 : 1)} ms`;
}

function meter(share) {
  const filled = element("i");
  filled.style.width = `${Math.max(0, Math.min(1, share || 0)) * 100}%`;
  return element("span", { className: "meter", role: "presentation" }, filled);
}

function swatch(color) {
  const made = element("i", { className: "swatch" });
  made.style.background = color;
  return made;
}

// A table of rows; of many, the first ones, and a button for the others. A column is [title, class, cell of a row].
function table(columns, rows, most = 25) {
  const body = element("tbody");
  const add = (some) => {
    const made = some.map((row) =>
      element(
        "tr",
        {},
        ...columns.map(([, kind, cell]) => {
          const value = cell(row);
          return element("td", { className: kind }, value instanceof Node ? value : harmless(value ?? ""));
        }),
      ),
    );
    body.append(...made);
  };
  add(rows.slice(0, most));
  const head = element(
    "tr",
    {},
    ...columns.map(([title, kind]) => element("th", { className: kind, scope: "col" }, title)),
  );
  const made = element(
    "div",
    { className: "scroll" },
    element("table", {}, element("thead", {}, head), body),
  );
  if (rows.length > most) {
    let shown = most;
    const more = element("button", { type: "button", className: "more" });
    const label = () => {
      more.textContent = `Show ${count.format(Math.min(500, rows.length - shown))} more of ${count.format(rows.length)}`;
    };
    more.addEventListener("click", () => {
      add(rows.slice(shown, shown + 500));
      shown += 500;
      if (shown >= rows.length) more.remove();
      else label();
    });
    label();
    made.append(more);
  }
  return made;
}

function facts(pairs) {
  const list = element("dl", { className: "facts" });
  for (const [name, value] of pairs) {
    if (value === "" || value === null || value === undefined) continue;
    list.append(element("dt", {}, name), element("dd", {}, value instanceof Node ? value : harmless(value)));
  }
  return list;
}

function code(text) {
  return element("code", {}, harmless(text));
}
