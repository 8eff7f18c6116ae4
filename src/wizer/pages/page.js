// The page: what a document holds, section by section. See `document.py` for its shape.

class Page {
  constructor(held) {
    this.held = held;
    this.main = document.getElementById("main");
    this.contents = document.getElementById("contents");
    this.file = held.files.at(-1);
    this.looked = held.kind === "inspect" ? held.files : held.files.slice(-1); // what is shown as a whole
    this.memories = this.looked.length ? this.looked.flatMap((file) => [...memoriesOf(held, file)]) : [...memoriesOf(held)];
  }

  build() {
    this.summary();
    this.notices();
    if (this.memories.length) this.memoryMap();
    if (this.held.audit) this.frozen();
    if (this.held.diff) this.differences();
    for (const file of this.looked) {
      this.sections(file);
      for (const part of modulesOf(file)) this.module(part, part === file && this.looked.length === 1);
    }
    if (this.held.run) this.run();
  }

  // Whether there are two files, of which the first is what the second is compared with.
  get compared() {
    return this.held.files.length === 2 && this.held.kind !== "inspect";
  }

  section(title, ...children) {
    const id = `part-${this.contents.children.length}`;
    const made = element("section", { id, "aria-labelledby": `${id}-title` },
      element("h2", { id: `${id}-title` }, harmless(title)), ...children);
    this.main.append(made);
    this.contents.append(element("a", { href: `#${id}` }, harmless(title)));
    return made;
  }

  summary() {
    const { files, run, diff, audit } = this.held;
    const cards = [];
    const card = (value, ...about) =>
      cards.push(element("div", { className: "card" }, element("b", {}, value), ...about.map((text) => element("span", {}, text))));
    if (this.file && this.looked.length === 1) {
      const [before] = files;
      const two = this.compared;
      card(bytes(this.file.size), two ? `${run ? "the output" : "the second"}; before ${bytes(before.size)}` : `a ${this.file.kind}`,
        two && before.size ? `${(this.file.size / before.size).toFixed(2)} times as large` : "");
      card(bytes(this.file.compressed), "compressed as by gzip", two ? `before ${bytes(before.compressed)}` : "");
    }
    const memory = this.memories.reduce((sum, one) => sum + one.nonzero, 0);
    if (this.memories.some((one) => one.known)) {
      card(bytes(memory), "of memory are not zero", `of ${bytes(this.memories.reduce((sum, one) => sum + one.size, 0))}`);
      const segments = this.memories.reduce((sum, one) => sum + one.segments, 0);
      const mapped = this.memories.filter((one) => one.mapped !== null);
      card(count.format(segments), `data segment${segments === 1 ? "" : "s"}`,
        mapped.length === 0 ? "" : mapped.every((one) => one.mapped) ? "wasmtime maps the memory" : "every instance copies memory");
    }
    if (run) card(seconds(Object.values(run.seconds).reduce((sum, one) => sum + one, 0)), "the run took", run.layout ? `layout ${run.layout}` : "");
    if (diff) {
      const bytesDiffer = this.memories.reduce((sum, one) => sum + one.differing, 0);
      card(diff.identical ? "nothing" : bytes(bytesDiffer), "of memory differ", diff.identical ? "byte for byte the same" : plural(changesOf(diff).length, "other change"));
    }
    if (audit) card(audit.frozen.length ? audit.frozen.join(", ") : "nothing", "frozen", plural(audit.findings.length, "place"));
    this.main.append(element("div", { className: "cards" }, ...cards));
    if (this.compared && files[0].size !== this.file.size) this.main.append(this.grown(...files));
  }

  // Why one file is larger than the other, in a sentence.
  grown(before, after) {
    const sizes = (file) => new Map(file.sections.map((one) => [`${one.title} ${one.name}`.trim(), one.size]));
    const [old, now] = [sizes(before), sizes(after)];
    const changed = [...new Set([...old.keys(), ...now.keys()])]
      .map((name) => [name, (now.get(name) ?? 0) - (old.get(name) ?? 0)])
      .filter(([, more]) => more)
      .sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
    const more = after.size - before.size;
    const named = changed.slice(0, 3).map(([name, by]) => `${name} ${signed(by)}`);
    if (changed.length > 3) named.push(plural(changed.length - 3, "other"));
    return element("p", { className: "why" }, element("b", {}, `${bytes(Math.abs(more))} ${more > 0 ? "larger" : "smaller"}`),
      harmless(` than ${before.name || "before"}: ${named.join(", ")}.`));
  }

  notices() {
    const texts = [...(this.held.run?.warnings ?? []), ...(this.held.run?.notes ?? [])];
    for (const file of this.looked.flatMap((one) => [...partsOf(one)])) {
      const where = this.looked.length > 1 ? `${file.name}: ` : "";
      for (const problem of file.problems) texts.push(`${where}broken at ${hexadecimal(problem.start)}: ${problem.message}`);
    }
    for (const memory of this.memories) {
      if (memory.obstacle) texts.push(`${memory.name} is copied into every instance: ${memory.obstacle}`);
    }
    if (texts.length) {
      this.section("Worth knowing", ...texts.slice(0, 100).map((text) => element("p", { className: "notice" }, harmless(text))));
    }
  }

  memoryMap() {
    const place = element("div");
    const legend = element("ul", { className: "legend" });
    const details = element("div", { className: "details", id: "details", "aria-live": "polite" });
    const search = element("input", { type: "search", placeholder: "Search: a symbol, a region, an address (0x…)", "aria-label": "Search the map" });
    const found = element("ul", { className: "found", "aria-label": "Found" });
    const choice = element("select", { "aria-label": "Memory" }, ...this.memories.map((memory, at) => element("option", { value: at }, harmless(memory.name))));
    const open = (at) => {
      this.map?.close();
      const memory = this.memories[at];
      choice.value = at;
      this.map = new MemoryMap(place, memory, (address) => details.replaceChildren(facts(memory.describe(address, 1))));
      legend.replaceChildren(...memory.legend.map(([name, color]) => element("li", {}, swatch(`var(${color})`), harmless(name))));
      details.replaceChildren(element("span", { className: "dim" }, "Choose a place on the map: click, or use the arrow keys."));
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
    const tools = element("div", { className: "tools" },
      this.memories.length > 1 ? choice : null, search,
      tool("+", "Zoom in", (map) => map.zoom(0.5, middle(map))),
      tool("−", "Zoom out", (map) => map.zoom(2, middle(map))),
      tool("Whole", "Show the whole memory", (map) => map.show(0, map.size)),
      tool("‹", "Previous item", (map) => map.step(-1)),
      tool("›", "Next item", (map) => map.step(1)));
    choice.addEventListener("change", () => open(Number(choice.value)));
    const look = () => {
      const results = searched(this.memories, search.value.trim());
      found.replaceChildren(...results.map(({ memory, name, start, end }) => {
        const button = element("button", { type: "button" }, harmless(name), element("span", {}, hexadecimal(start)));
        button.addEventListener("click", () => this.go(memory, start, end));
        return element("li", {}, button);
      }));
      if (search.value.trim() && !results.length) found.append(element("li", { className: "none" }, "Nothing of that name."));
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
    this.section("Memory", tools, found, legend, place, details, element("p", { className: "keys" },
      ...["On the map: ", ["←", "→"], " move, ", ["+", "−"], " zoom, ", ["Home", "End"], " go to either end, ",
        ["N", "P"], " go from item to item, ", ["0"], " shows all. Once it is chosen, the wheel zooms, and dragging moves it."]
        .flatMap((part) => (Array.isArray(part) ? part.map((key) => element("kbd", {}, key)) : [part]))));
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
    const rows = table([
      ["region", "name", (region) => element("span", {}, swatch(`var(${regionColor(memory, region.name)})`), harmless(region.name))],
      ["from", "", (region) => this.jump(memory, region.start, region.end)],
      ["size", "number", (region) => bytes(region.end - region.start)],
      ["not zero", "number", (region) => bytes(region.nonzero)],
      ["in the file", "number", (region) => bytes(region.stored)],
      ["", "bar", (region) => meter(region.stored / most)],
      ["gzip", "number", (region) => bytes(region.compressed)],
      ["bits a byte", "number", (region) => region.entropy.toFixed(1)],
    ], memory.regions);
    const blocks = memory.blocks.length ? table([
      ["largest blocks", "name", (block) => harmless(block.place) || "(no name)"],
      ["from", "", (block) => this.jump(memory, block.start, block.end)],
      ["size", "number", (block) => bytes(block.end - block.start)],
    ], memory.blocks) : null;
    const texts = memory.strings.length ? table([
      ["longest text", "name", ([, text]) => code(text)],
      ["at", "", ([start, text]) => this.jump(memory, start, start + text.length)],
    ], memory.strings) : null;
    this.section(this.memories.length > 1 ? `Regions of ${memory.name}` : "Regions", rows,
      element("div", { className: "columns" }, ...[blocks, texts].filter(Boolean).map((one) => element("div", {}, element("h3"), one))));
  }

  frozen() {
    const { audit } = this.held;
    const parts = [];
    if (audit.findings.length) {
      parts.push(table([
        ["source", "", (finding) => finding.source],
        ["place", "name", (finding) => {
          const memory = finding.kind === "memory" && finding.range && this.memories.find((one) => one.index === finding.index);
          return memory ? this.jump(memory, finding.range[0], finding.range[1], harmless(finding.place)) : harmless(finding.place);
        }],
        ["name", "name", (finding) => [finding.name, finding.origin && `from ${finding.origin}`, finding.dead && "cannot be read any more"].filter(Boolean).join(", ")],
        ["value", "name", (finding) => code(cut(finding.value, 80))],
      ], audit.findings));
    }
    const more = facts([
      ["asked for", audit.asked.join(", ")],
      ["read, not in the output", audit.read.join(", ")],
      ["files opened", [...new Set(audit.files)].join(", ")],
      ["left open", Object.entries(audit.left_open).map(([fd, path]) => `${path} (as ${fd})`).join(", ")],
      ["variables in the output", audit.variables.join(", ")],
      ["fails otherwise", Object.entries(audit.failures).map(([source, text]) => `${source}: ${text}`).join("; ")],
      ["not known to be forgotten", Object.entries(audit.remembered).map(([what, name]) => `${what} (no function ${name})`).join(", ")],
      ["imports called", callsText(audit.calls)],
      ["calls not counted", audit.unobserved.map(({ module, name }) => `${module} ${name}`).join(", ")],
    ]);
    this.section("What is frozen", audit.findings.length ? null : element("p", {}, "Nothing that depends on chance, time or the outside was found."), ...parts, element("h3", {}, "What initialisation did"), more);
  }

  differences() {
    const { diff } = this.held;
    if (diff.identical) {
      this.section("Differences", element("p", {}, "Both files are the same, byte for byte."));
      return;
    }
    const parts = [];
    for (const memory of this.memories.filter((one) => one.changes.length)) {
      parts.push(element("h3", {}, harmless(`${memory.name}: ${bytes(memory.differing)} differ`)), table([
        ["place", "name", (change) => this.jump(memory, change.start, change.end, harmless(change.place) || hexadecimal(change.start))],
        ["bytes", "number", (change) => count.format(change.differing)],
        ["first", "name", (change) => code(change.first_text || change.first)],
        ["second", "name", (change) => code(change.second_text || change.second)],
      ], memory.changes));
    }
    const changes = changesOf(diff);
    if (changes.length) {
      parts.push(element("h3", {}, "Items"), table([
        ["kind", "", (change) => change.kind],
        ["place", "name", (change) => change.place],
        ["first", "name", (change) => code(cut(change.first, 160))],
        ["second", "name", (change) => code(cut(change.second, 160))],
      ], changes));
    }
    const sections = sectionChangesOf(diff);
    if (sections.length) {
      parts.push(element("h3", {}, "Sections"), table([
        ["section", "name", (change) => `${change.title} ${change.name}`],
        ["first", "number", (change) => (change.first === null ? "none" : bytes(change.first))],
        ["second", "number", (change) => (change.second === null ? "none" : bytes(change.second))],
        ["grown by", "number", (change) => signed((change.second ?? 0) - (change.first ?? 0))],
      ], sections));
    }
    this.section(this.held.run ? "What initialisation changed" : "Differences", ...parts);
  }

  sections(file) {
    const rows = file.sections.slice().sort((a, b) => b.size - a.size);
    const before = file === this.file && this.compared ? this.held.files[0] : null;
    const old = new Map((before?.sections ?? []).map((one) => [`${one.title} ${one.name}`, one.size]));
    const columns = [
      ["section", "name", (one) => `${one.title} ${one.name}`.trim()],
      ["items", "number", (one) => (one.items === null ? "" : count.format(one.items))],
      ...(before ? [["before", "number", (one) => bytes(old.get(`${one.title} ${one.name}`) ?? 0)]] : []),
      ["size", "number", (one) => bytes(one.size)],
      ["", "number", (one) => percent(one.size, file.size)],
      ["", "bar", (one) => meter(one.size / file.size)],
      ["gzip", "number", (one) => bytes(one.compressed)],
    ];
    this.section(this.looked.length > 1 ? file.name : "The file", stacked(rows, file.size), table(columns, rows));
  }

  module(part, alone) {
    const { module } = part;
    const made = module.provenance;
    const about = facts([
      ["made by", made.snapshot ? `Wizer for Python ${made.version}` : ""],
      ...Object.entries(made.options).map(([name, value]) => [name, value]),
      ...Object.entries(made.producers).map(([field, tools]) => [field, Object.entries(tools).map(([name, version]) => `${name} ${version}`.trim()).join(", ")]),
      ["functions", count.format(module.functions)],
      ["imports", countsText(module.imports)],
      ["exports", countsText(module.exports)],
      ["start function", module.start === null ? "" : String(module.start)],
      ["restore code", made.restore ? exactly(made.restore) : ""],
    ]);
    const tables = [
      module.largest.length ? table([
        ["largest functions", "name", (one) => one.name || `function ${one.index}`],
        ["size", "number", (one) => bytes(one.size)],
      ], module.largest, 10) : null,
      module.tables.length ? table([
        ["table", "name", (one) => `${one.index} ${one.name}`],
        ["type", "", (one) => one.type],
        ["elements", "number", (one) => count.format(one.size)],
        ["filled", "number", (one) => count.format(one.filled)],
      ], module.tables, 10) : null,
      module.globals.length ? table([
        ["global", "name", (one) => `${one.index} ${one.name}`],
        ["type", "", (one) => (one.mutable ? `mut ${one.type}` : one.type)],
        ["value", "name", (one) => cut(one.value, 60)],
      ], module.globals, 10) : null,
      module.objects.length ? table([
        ["objects of type", "name", (one) => one.name || `${one.form} ${one.typeidx}`],
        ["number", "number", (one) => `${count.format(one.count)}${one.exact ? "" : " or more"}`],
      ], module.objects, 10) : null,
    ].filter(Boolean);
    this.section(alone ? "The module" : `Module ${part.name}`, about, element("div", { className: "columns" },
      ...tables.map((one) => element("div", {}, element("h3"), one))));
  }

  run() {
    const { run } = this.held;
    const times = Object.entries(run.seconds).filter(([, time]) => time >= 0.0005).sort((a, b) => b[1] - a[1]);
    const total = times.reduce((sum, [, time]) => sum + time, 0);
    const parts = [table([
      ["stage", "name", ([stage]) => stage],
      ["time", "number", ([, time]) => seconds(time)],
      ["", "number", ([, time]) => percent(time, total)],
      ["", "bar", ([, time]) => meter(time / total)],
    ], times), element("h3", {}, "What ran"), facts([
      ["functions", run.ran.map(({ name, count: times_ }) => (times_ > 1 ? `${name} (${times_} times)` : name)).join(", ")],
      ["input", run.input], ["output", run.output], ["layout", run.layout],
      ["limits", run.limits.join(", ")],
      ["calls not counted", run.unobserved.map(({ module, name }) => `${module} ${name}`).join(", ")],
    ])];
    if (run.calls.length) {
      parts.push(element("h3", {}, "Imports called"), table([
        ["import", "name", (one) => `${one.module} ${one.name}`],
        ["calls", "number", (one) => count.format(one.count)],
      ], run.calls));
    }
    if (run.files.length) {
      parts.push(element("h3", {}, "Files read"), table([["file", "name", (path) => code(path)]], run.files));
    }
    this.section("The run", ...parts);
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
  return Object.entries(counts).map(([kind, number]) => `${count.format(number)} ${kind}`).join(", ");
}

function stacked(sections, size) {
  const shown = sections.filter((one) => one.size > size / 200).slice(0, 6);
  const rest = sections.filter((one) => !shown.includes(one)).reduce((sum, one) => sum + one.size, 0);
  const parts = shown.map((one, at) => [`${one.title} ${one.name}`.trim(), one.size, REGION_COLORS[at % 5]]);
  if (rest > 0) parts.push(["others", rest, "--r5"]);
  const bar = element("div", { className: "stack", "aria-hidden": "true" }, ...parts.map(([, part, color]) => {
    const made = element("i");
    made.style.flex = `${part} 0 0`;
    made.style.background = `var(${color})`;
    return made;
  }));
  return element("div", {}, bar, element("ul", { className: "legend" }, ...parts.map(([name, part, color]) =>
    element("li", {}, swatch(`var(${color})`), `${harmless(name)} ${percent(part, size)}`))));
}
