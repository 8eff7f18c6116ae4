// Unpacks the document that the page carries, and builds the page.

async function unpacked() {
  const packed = Uint8Array.from(atob(document.getElementById("document").textContent.trim()), (letter) =>
    letter.charCodeAt(0),
  );
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return rowwise(JSON.parse(await new Response(stream).text()), "");
}

// Lists of records travel in columns, which compress well: ``{"": [the keys], key: [values]}``. Segments stay so.
function rowwise(held, name) {
  if (Array.isArray(held))
    return held.length && typeof held[0] === "object" ? held.map((one) => rowwise(one, "")) : held;
  if (held === null || typeof held !== "object") return held;
  const keys = held[""];
  if (!keys)
    return Object.fromEntries(Object.entries(held).map(([key, value]) => [key, rowwise(value, key)]));
  if (name === "segments") return held;
  const columns = keys.map((key) => rowwise(held[key], ""));
  return columns[0].map((_, at) => Object.fromEntries(keys.map((key, column) => [key, columns[column][at]])));
}

function chooseTheme(page) {
  const button = document.getElementById("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const themes = ["system", "light", "dark"];
  let chosen = "system";
  try {
    chosen = themes.find((one) => one === localStorage.getItem("wizer-theme")) ?? chosen;
  } catch {
    /* a page out of a file may have no storage */
  }
  const apply = () => {
    const theme = chosen === "system" ? (dark.matches ? "dark" : "light") : chosen;
    document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${chosen}`;
    page.map?.draw();
  };
  button.addEventListener("click", () => {
    chosen = themes[(themes.indexOf(chosen) + 1) % themes.length];
    try {
      localStorage.setItem("wizer-theme", chosen);
    } catch {
      /* as above */
    }
    apply();
  });
  dark.addEventListener("change", apply);
  // What is printed is on white paper.
  addEventListener("beforeprint", () => {
    document.documentElement.dataset.theme = "light";
  });
  addEventListener("afterprint", apply);
  apply();
}

unpacked()
  .then((held) => {
    const page = new Report(held);
    chooseTheme(page);
    page.build();
    document.documentElement.dataset.ready = "true";
  })
  .catch((error) => {
    document
      .getElementById("main")
      .append(element("p", { className: "notice" }, `This page cannot be shown: ${error.message}`));
    document.documentElement.dataset.ready = "failed";
    throw error;
  });
