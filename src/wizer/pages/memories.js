// The memories of a document, as maps show them: what the file says of each, what differs, and what is frozen.

function* partsOf(file) {
  if (!file) return;
  yield file;
  for (const part of file.parts) yield* partsOf(part);
}

function* modulesOf(file) {
  for (const part of partsOf(file)) if (part.module) yield part;
}

function* diffsOf(diff) {
  if (!diff) return;
  yield diff;
  for (const part of diff.parts) yield* diffsOf(part);
}

function changesOf(diff) {
  return [...diffsOf(diff)].flatMap((part) => part.changes);
}

function sectionChangesOf(diff) {
  return [...diffsOf(diff)].flatMap((part) => part.sections);
}

function* memoriesOf(held, file) {
  const diffs = [...diffsOf(held.diff)];
  const taken = new Set();
  for (const part of modulesOf(file)) {
    const diff = part === file ? diffs[0] : diffs.find((one) => one.second === part.name);
    for (const memory of part.module.memories) {
      const change = diff?.memories.find((one) => one.index === memory.index);
      if (change) taken.add(change);
      const findings = part === file ? findingsIn(held.audit, memory.index) : [];
      yield mapped(
        part === file && (held.kind !== "inspect" || held.files.length < 2) ? "" : part.name,
        memory,
        part.module.segments,
        change,
        findings,
      );
    }
  }
  if (file) return;
  const indices = new Set(
    (held.audit?.findings ?? []).filter((one) => one.kind === "memory").map((one) => one.index),
  );
  for (const index of [...indices].sort((a, b) => a - b)) {
    const findings = findingsIn(held.audit, index);
    yield mapped(
      "",
      { index, name: "", pages: 0, page_size: 65536, known: false },
      null,
      undefined,
      findings,
    );
  }
}

function findingsIn(audit, index) {
  return (audit?.findings ?? []).filter((one) => one.kind === "memory" && one.index === index && one.range);
}

// What a map takes: see `MemoryMap`. Segments come in columns, for there may be a hundred thousand.
function mapped(part, memory, segments, change, findings) {
  const called = `memory ${memory.index}${memory.name ? ` ("${memory.name}")` : ""}`;
  const ends = findings.map((one) => one.range[1]);
  const size = Math.max(
    memory.pages * memory.page_size,
    ends.reduce((most, end) => Math.max(most, end), 0),
    1,
  );
  const own = [];
  if (segments?.index) {
    for (let at = 0; at < segments.index.length; at++) {
      if (
        segments.memidx[at] === memory.index &&
        segments.mode[at] === "active" &&
        segments.offset[at] !== null
      )
        own.push(at);
    }
  }
  const made = {
    name: part ? `${part}: ${called}` : called,
    index: memory.index,
    size,
    known: memory.known ?? true,
    bucket: memory.bucket ?? 0,
    density: memory.density ?? [],
    nonzero: memory.nonzero ?? 0,
    segments: memory.segments ?? 0,
    mapped: memory.mapped ?? null,
    obstacle: memory.obstacle ?? "",
    regions: memory.regions ?? [],
    blocks: memory.blocks ?? [],
    strings: memory.strings?.longest ?? [],
    changes: change?.ranges ?? [],
    differing: change?.differing ?? 0,
  };
  const ranges = (items) =>
    new Ranges(
      items.map((one) => one.start),
      items.map((one) => Math.max(one.end, one.start + 1)),
      (at) => items[at],
    );
  const regions = ranges(made.regions);
  const symbols = ranges(memory.symbols ?? []);
  const changes = ranges(made.changes);
  const frozen = ranges(findings.map((one) => ({ ...one, start: one.range[0], end: one.range[1] })));
  const data = new Ranges(
    own.map((at) => segments.offset[at]),
    own.map((at) => segments.offset[at] + segments.size[at]),
    (at) => own[at],
  );
  made.symbols = symbols;
  made.tracks = [
    {
      name: "regions",
      ranges: regions,
      height: 24,
      above: true,
      colorOf: (at) => regionColor(made, regions.items[at].name),
      label: (at) => regions.items[at].name,
    },
    {
      name: `data segments (${count.format(data.length)})`,
      ranges: data,
      height: 16,
      color: "--segment",
      steps: true,
    },
    {
      name: "symbols",
      ranges: symbols,
      height: 24,
      color: "--fill-low",
      label: (at) => symbols.items[at].name,
      nested: true,
    },
    { name: "differs", ranges: changes, height: 18, color: "--differs", steps: true },
    {
      name: "frozen",
      ranges: frozen,
      height: 18,
      color: "--frozen",
      steps: true,
      label: (at) => frozen.items[at].source,
    },
  ];
  made.legend = [...new Set(made.regions.map((one) => one.name))].map((name) => [
    name,
    regionColor(made, name),
  ]);
  made.describe = (address, width) =>
    described(made, { segments, regions, symbols, changes, frozen, data }, address, width);
  return made;
}

function regionColor(memory, name) {
  const names = [...new Set(memory.regions.map((one) => one.name))];
  return REGION_COLORS[names.indexOf(name) % REGION_COLORS.length];
}

const NEAR = 4; // pixels: nobody points more exactly

// What is at an address, as names and texts; ``width``: how many bytes a pixel stands for.
function described(memory, held, address, width) {
  const lines = [
    [
      "address",
      width > 1.5 ? `${hexadecimal(address)} (a pixel is ${bytes(Math.ceil(width))})` : hexadecimal(address),
    ],
  ];
  const near = (ranges) => {
    const inner = ranges.at(address);
    if (inner >= 0) return inner;
    const next = ranges.before(address);
    const behind = next < ranges.length ? ranges.starts[next] - address : Infinity;
    const before = next > 0 ? address - ranges.ends[next - 1] : Infinity;
    if (Math.min(behind, before) > NEAR * width || width <= 1) return -1;
    return behind < before ? next : next - 1;
  };
  const within = (start) => (address > start ? ` + ${hexadecimal(address - start)}` : "");
  let at = near(held.symbols);
  if (at >= 0) lines.push(["symbol", `${held.symbols.items[at].name}${within(held.symbols.starts[at])}`]);
  at = held.regions.at(address);
  if (at >= 0) lines.push(["region", held.regions.items[at].name]);
  at = near(held.frozen);
  if (at >= 0) {
    const found = held.frozen.items[at];
    lines.push([
      "frozen",
      `${found.source}${found.origin ? `, from ${found.origin}` : ""}${found.name ? `, ${found.name}` : ""}: ${cut(found.value, 40)}`,
    ]);
  }
  at = near(held.changes);
  if (at >= 0) {
    const found = held.changes.items[at];
    lines.push([
      "differs",
      `${plural(found.differing, "byte")}: ${found.first_text || found.first || "nothing"} → ${found.second_text || found.second || "nothing"}`,
    ]);
  }
  at = near(held.data);
  if (at >= 0) {
    const index = held.data.items[at];
    const size = held.segments.size[index];
    lines.push([
      "segment",
      `${held.segments.index[index]}: ${exactly(size)} from ${hexadecimal(held.data.starts[at])}, ${percent(held.segments.nonzero[index], size)} not zero`,
    ]);
  }
  if (memory.bucket) {
    const bucket = Math.floor(address / memory.bucket);
    lines.push([
      "full",
      `${bytes(memory.density[bucket] ?? 0)} not zero of the ${bytes(memory.bucket)} around it`,
    ]);
  }
  return lines;
}

const MOST_FOUND = 60;

// What has a name that contains a text, or the address that it is.
function searched(memories, text) {
  if (!text) return [];
  const results = [];
  const wanted = text.toLowerCase();
  const address = /^(0x[0-9a-f]+|[0-9]+)$/i.test(text) ? Number(text) : NaN;
  for (const memory of memories) {
    const several = memories.length > 1 ? `${memory.name}: ` : "";
    const add = (name, start, end) => {
      if (results.length < MOST_FOUND) results.push({ memory, name: several + name, start, end });
    };
    if (address < memory.size) add(`address ${hexadecimal(address)}`, address, address + 1);
    const look = (items, name) => {
      for (const item of items) {
        if (results.length >= MOST_FOUND) return;
        if (name(item).toLowerCase().includes(wanted)) add(name(item), item.start, item.end);
      }
    };
    look(memory.symbols.items, (one) => one.name);
    look(memory.regions, (one) => one.name);
    look(memory.blocks, (one) => one.place);
    look(
      memory.tracks.at(-1).ranges.items,
      (one) => `${one.source}: ${one.place} ${one.name ?? ""} ${one.origin ?? ""}`,
    );
    look(memory.changes, (one) => one.place);
    look(
      memory.strings.map(([start, string]) => ({ start, end: start + string.length, string })),
      (one) => one.string,
    );
  }
  return results;
}
