// The page: its sections, the sizes at its head, and the map with what stands beside it.

class Page {
  constructor(held) {
    this.held = held;
    this.main = document.getElementById("main");
    this.contents = document.getElementById("contents");
    this.file = held.files.at(-1);
    this.looked = held.kind === "inspect" ? held.files : held.files.slice(-1); // what is shown as a whole
    this.memories = this.looked.length
      ? this.looked.flatMap((file) => [...memoriesOf(held, file)])
      : [...memoriesOf(held)];
  }

  // Whether there are two files, of which the first is what the second is compared with.
  get compared() {
    return this.held.files.length === 2 && this.held.kind !== "inspect";
  }

  section(title, ...children) {
    const id = `part-${this.contents.children.length}`;
    const made = element(
      "section",
      { id, "aria-labelledby": `${id}-title` },
      element("h2", { id: `${id}-title` }, harmless(title)),
      ...children,
    );
    this.main.append(made);
    this.contents.append(element("a", { href: `#${id}` }, harmless(title)));
    return made;
  }

  summary() {
    const { files, run, diff, audit } = this.held;
    const cards = [];
    const card = (value, ...about) =>
      cards.push(
        element(
          "div",
          { className: "card" },
          element("b", {}, value),
          ...about.map((text) => element("span", {}, text)),
        ),
      );
    if (this.file && this.looked.length === 1) {
      const [before] = files;
      const two = this.compared;
      card(
        bytes(this.file.size),
        two ? `${run ? "the output" : "the second"}; before ${bytes(before.size)}` : `a ${this.file.kind}`,
        two && before.size ? `${(this.file.size / before.size).toFixed(2)} times as large` : "",
      );
      card(
        bytes(this.file.compressed),
        "compressed as by gzip",
        two ? `before ${bytes(before.compressed)}` : "",
      );
    }
    const memory = this.memories.reduce((sum, one) => sum + one.nonzero, 0);
    if (this.memories.some((one) => one.known)) {
      card(
        bytes(memory),
        "of memory are not zero",
        `of ${bytes(this.memories.reduce((sum, one) => sum + one.size, 0))}`,
      );
      const segments = this.memories.reduce((sum, one) => sum + one.segments, 0);
      const mapped = this.memories.filter((one) => one.mapped !== null);
      card(
        count.format(segments),
        `data segment${segments === 1 ? "" : "s"}`,
        mapped.length === 0
          ? ""
          : mapped.every((one) => one.mapped)
            ? "wasmtime maps the memory"
            : "every instance copies memory",
      );
    }
    if (run)
      card(
        seconds(Object.values(run.seconds).reduce((sum, one) => sum + one, 0)),
        "the run took",
        run.layout ? `layout ${run.layout}` : "",
      );
    if (diff) {
      const bytesDiffer = this.memories.reduce((sum, one) => sum + one.differing, 0);
      card(
        diff.identical ? "nothing" : bytes(bytesDiffer),
        "of memory differ",
        diff.identical ? "byte for byte the same" : plural(changesOf(diff).length, "other change"),
      );
    }
    if (audit)
      card(
        audit.frozen.length ? audit.frozen.join(", ") : "nothing",
        "frozen",
        plural(audit.findings.length, "place"),
      );
    this.main.append(element("div", { className: "cards" }, ...cards));
    if (this.compared && files[0].size !== this.file.size) this.main.append(this.grown(...files));
  }

  // Why one file is larger than the other, in a sentence.
  grown(before, after) {
    const sizes = (file) =>
      new Map(file.sections.map((one) => [`${one.title} ${one.name}`.trim(), one.size]));
    const [old, now] = [sizes(before), sizes(after)];
    const changed = [...new Set([...old.keys(), ...now.keys()])]
      .map((name) => [name, (now.get(name) ?? 0) - (old.get(name) ?? 0)])
      .filter(([, more]) => more)
      .sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
    const more = after.size - before.size;
    const named = changed.slice(0, 3).map(([name, by]) => `${name} ${signed(by)}`);
    if (changed.length > 3) named.push(plural(changed.length - 3, "other"));
    return element(
      "p",
      { className: "why" },
      element("b", {}, `${bytes(Math.abs(more))} ${more > 0 ? "larger" : "smaller"}`),
      harmless(` than ${before.name || "before"}: ${named.join(", ")}.`),
    );
  }

  notices() {
    const texts = [...(this.held.run?.warnings ?? []), ...(this.held.run?.notes ?? [])];
    for (const file of this.looked.flatMap((one) => [...partsOf(one)])) {
      const where = this.looked.length > 1 ? `${file.name}: ` : "";
      for (const problem of file.problems)
        texts.push(`${where}broken at ${hexadecimal(problem.start)}: ${problem.message}`);
    }
    for (const memory of this.memories) {
      if (memory.obstacle) texts.push(`${memory.name} is copied into every instance: ${memory.obstacle}`);
    }
    if (texts.length) {
      this.section(
        "Worth knowing",
        ...texts.slice(0, 100).map((text) => element("p", { className: "notice" }, harmless(text))),
      );
    }
  }

  memoryMap() {
    const place = element("div");
    const legend = element("ul", { className: "legend" });
    const details = element("div", { className: "details", id: "details", "aria-live": "polite" });
    const search = element("input", {
      type: "search",
      placeholder: "Search: a symbol, a region, an address (0x…)",
      "aria-label": "Search the map",
    });
    const found = element("ul", { className: "found", "aria-label": "Found" });
    const choice = element(
      "select",
      { "aria-label": "Memory" },
      ...this.memories.map((memory, at) => element("option", { value: at }, harmless(memory.name))),
    );
    const open = (at) => {
      this.map?.close();
      const memory = this.memories[at];
      choice.value = at;
      this.map = new MemoryMap(place, memory, (address) =>
        details.replaceChildren(facts(memory.describe(address, 1))),
      );
      legend.replaceChildren(
        ...memory.legend.map(([name, color]) => element("li", {}, swatch(`var(${color})`), harmless(name))),
      );
      details.replaceChildren(
        element("span", { className: "dim" }, "Choose a place on the map: click, or use the arrow keys."),
      );
    };
    this.go = (memory, start, end) => {
      const at = this.memories.indexOf(memory);
      if (this.map?.memory !== memory) open(at);
      this.map.reveal(start, end);
      place.closest("section").scrollIntoView({ block: "start" });
      this.map.view.focus({ preventScroll: true });
    };
    const tool = (text, name, act) => {
      const button = element("button", { type: "button", "aria-label": name, title: name }, text);
      button.addEventListener("click", () => act(this.map));
      return button;
    };
    const middle = (map) => map.cursor ?? (map.from + map.to) / 2;
    const tools = element(
      "div",
      { className: "tools" },
      this.memories.length > 1 ? choice : null,
      search,
      tool("+", "Zoom in", (map) => map.zoom(0.5, middle(map))),
      tool("−", "Zoom out", (map) => map.zoom(2, middle(map))),
      tool("Whole", "Show the whole memory", (map) => map.show(0, map.size)),
      tool("‹", "Previous item", (map) => map.step(-1)),
      tool("›", "Next item", (map) => map.step(1)),
    );
    choice.addEventListener("change", () => open(Number(choice.value)));
    const look = () => {
      const results = searched(this.memories, search.value.trim());
      found.replaceChildren(
        ...results.map(({ memory, name, start, end }) => {
          const button = element(
            "button",
            { type: "button" },
            harmless(name),
            element("span", {}, hexadecimal(start)),
          );
          button.addEventListener("click", () => this.go(memory, start, end));
          return element("li", {}, button);
        }),
      );
      if (search.value.trim() && !results.length)
        found.append(element("li", { className: "none" }, "Nothing of that name."));
      return results;
    };
    search.addEventListener("input", look);
    search.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        const [first] = look();
        if (first) this.go(first.memory, first.start, first.end);
      } else if (event.key === "Escape") {
        search.value = "";
        look();
      }
    });
    this.section(
      "Memory",
      tools,
      found,
      legend,
      place,
      details,
      element(
        "p",
        { className: "keys" },
        ...[
          "On the map: ",
          ["←", "→"],
          " move, ",
          ["+", "−"],
          " zoom, ",
          ["Home", "End"],
          " go to either end, ",
          ["N", "P"],
          " go from item to item, ",
          ["0"],
          " shows all. Once it is chosen, the wheel zooms, and dragging moves it.",
        ].flatMap((part) => (Array.isArray(part) ? part.map((key) => element("kbd", {}, key)) : [part])),
      ),
    );
    open(0);
    for (const memory of this.memories.filter((one) => one.regions.length)) this.regions(memory);
  }

  jump(memory, start, end, text) {
    const button = element("button", { type: "button" }, text ?? hexadecimal(start));
    button.addEventListener("click", () => this.go(memory, start, end));
    return button;
  }

  regions(memory) {
    const most = Math.max(...memory.regions.map((region) => region.stored), 1);
    const rows = table(
      [
        [
          "region",
          "name",
          (region) =>
            element("span", {}, swatch(`var(${regionColor(memory, region.name)})`), harmless(region.name)),
        ],
        ["from", "", (region) => this.jump(memory, region.start, region.end)],
        ["size", "number", (region) => bytes(region.end - region.start)],
        ["not zero", "number", (region) => bytes(region.nonzero)],
        ["in the file", "number", (region) => bytes(region.stored)],
        ["", "bar", (region) => meter(region.stored / most)],
        ["gzip", "number", (region) => bytes(region.compressed)],
        ["bits a byte", "number", (region) => region.entropy.toFixed(1)],
      ],
      memory.regions,
    );
    const blocks = memory.blocks.length
      ? table(
          [
            ["largest blocks", "name", (block) => harmless(block.place) || "(no name)"],
            ["from", "", (block) => this.jump(memory, block.start, block.end)],
            ["size", "number", (block) => bytes(block.end - block.start)],
          ],
          memory.blocks,
        )
      : null;
    const texts = memory.strings.length
      ? table(
          [
            ["longest text", "name", ([, text]) => code(text)],
            ["at", "", ([start, text]) => this.jump(memory, start, start + text.length)],
          ],
          memory.strings,
        )
      : null;
    this.section(
      this.memories.length > 1 ? `Regions of ${memory.name}` : "Regions",
      rows,
      element(
        "div",
        { className: "columns" },
        ...[blocks, texts].filter(Boolean).map((one) => element("div", {}, element("h3"), one)),
      ),
    );
  }
}

function cut(text, most) {
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

function signed(number) {
  return number > 0 ? `+${bytes(number)}` : number < 0 ? `−${bytes(-number)}` : "0";
}

function callsText(calls) {
  return calls.map(({ name, count: often }) => `${name} ${count.format(often)}`).join(", ");
}

function countsText(counts) {
  return Object.entries(counts)
    .map(([kind, number]) => `${count.format(number)} ${kind}`)
    .join(", ");
}

function stacked(sections, size) {
  const shown = sections.filter((one) => one.size > size / 200).slice(0, 6);
  const rest = sections.filter((one) => !shown.includes(one)).reduce((sum, one) => sum + one.size, 0);
  const parts = shown.map((one, at) => [`${one.title} ${one.name}`.trim(), one.size, REGION_COLORS[at % 5]]);
  if (rest > 0) parts.push(["others", rest, "--r5"]);
  const bar = element(
    "div",
    { className: "stack", "aria-hidden": "true" },
    ...parts.map(([, part, color]) => {
      const made = element("i");
      made.style.flex = `${part} 0 0`;
      made.style.background = `var(${color})`;
      return made;
    }),
  );
  return element(
    "div",
    {},
    bar,
    element(
      "ul",
      { className: "legend" },
      ...parts.map(([name, part, color]) =>
        element("li", {}, swatch(`var(${color})`), `${harmless(name)} ${percent(part, size)}`),
      ),
    ),
  );
}
