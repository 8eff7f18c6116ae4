// The sections of a page that are tables: what is frozen, what differs, what is in a file, what a run did.

class Report extends Page {
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

  frozen() {
    const { audit } = this.held;
    const parts = [];
    if (audit.findings.length) {
      parts.push(
        table(
          [
            ["source", "", (finding) => finding.source],
            [
              "place",
              "name",
              (finding) => {
                const memory =
                  finding.kind === "memory" &&
                  finding.range &&
                  this.memories.find((one) => one.index === finding.index);
                return memory
                  ? this.jump(memory, finding.range[0], finding.range[1], harmless(finding.place))
                  : harmless(finding.place);
              },
            ],
            [
              "name",
              "name",
              (finding) =>
                [
                  finding.name,
                  finding.origin && `from ${finding.origin}`,
                  finding.dead && "cannot be read any more",
                ]
                  .filter(Boolean)
                  .join(", "),
            ],
            ["value", "name", (finding) => code(cut(finding.value, 80))],
          ],
          audit.findings,
        ),
      );
    }
    const more = facts([
      ["asked for", audit.asked.join(", ")],
      ["read, not in the output", audit.read.join(", ")],
      ["files opened", [...new Set(audit.files)].join(", ")],
      [
        "left open",
        Object.entries(audit.left_open)
          .map(([fd, path]) => `${path} (as ${fd})`)
          .join(", "),
      ],
      ["variables in the output", audit.variables.join(", ")],
      [
        "fails otherwise",
        Object.entries(audit.failures)
          .map(([source, text]) => `${source}: ${text}`)
          .join("; "),
      ],
      [
        "not known to be forgotten",
        Object.entries(audit.remembered)
          .map(([what, name]) => (name ? `${what} (no function ${name})` : what))
          .join(", "),
      ],
      ["imports called", callsText(audit.calls)],
      ["calls not counted", audit.unobserved.map(({ module, name }) => `${module} ${name}`).join(", ")],
    ]);
    this.section(
      "What is frozen",
      audit.findings.length
        ? null
        : element("p", {}, "Nothing that depends on chance, time or the outside was found."),
      ...parts,
      element("h3", {}, "What initialisation did"),
      more,
    );
  }

  differences() {
    const { diff } = this.held;
    if (diff.identical) {
      this.section("Differences", element("p", {}, "Both files are the same, byte for byte."));
      return;
    }
    const parts = [];
    for (const memory of this.memories.filter((one) => one.changes.length)) {
      parts.push(
        element("h3", {}, harmless(`${memory.name}: ${bytes(memory.differing)} differ`)),
        table(
          [
            [
              "place",
              "name",
              (change) =>
                this.jump(
                  memory,
                  change.start,
                  change.end,
                  harmless(change.place) || hexadecimal(change.start),
                ),
            ],
            ["bytes", "number", (change) => count.format(change.differing)],
            ["first", "name", (change) => code(change.first_text || change.first)],
            ["second", "name", (change) => code(change.second_text || change.second)],
          ],
          memory.changes,
        ),
      );
    }
    const changes = changesOf(diff);
    if (changes.length) {
      parts.push(
        element("h3", {}, "Items"),
        table(
          [
            ["kind", "", (change) => change.kind],
            ["place", "name", (change) => change.place],
            ["first", "name", (change) => code(cut(change.first, 160))],
            ["second", "name", (change) => code(cut(change.second, 160))],
          ],
          changes,
        ),
      );
    }
    const sections = sectionChangesOf(diff);
    if (sections.length) {
      parts.push(
        element("h3", {}, "Sections"),
        table(
          [
            ["section", "name", (change) => `${change.title} ${change.name}`],
            ["first", "number", (change) => (change.first === null ? "none" : bytes(change.first))],
            ["second", "number", (change) => (change.second === null ? "none" : bytes(change.second))],
            ["grown by", "number", (change) => signed((change.second ?? 0) - (change.first ?? 0))],
          ],
          sections,
        ),
      );
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
    this.section(
      this.looked.length > 1 ? file.name : "The file",
      stacked(rows, file.size),
      table(columns, rows),
    );
  }

  module(part, alone) {
    const { module } = part;
    const made = module.provenance;
    const about = facts([
      ["made by", made.snapshot ? `Wizer for Python ${made.version}` : ""],
      ...Object.entries(made.options).map(([name, value]) => [name, value]),
      ...Object.entries(made.producers).map(([field, tools]) => [
        field,
        Object.entries(tools)
          .map(([name, version]) => `${name} ${version}`.trim())
          .join(", "),
      ]),
      ["functions", count.format(module.functions)],
      ["imports", countsText(module.imports)],
      ["exports", countsText(module.exports)],
      ["start function", module.start === null ? "" : String(module.start)],
      ["restore code", made.restore ? exactly(made.restore) : ""],
    ]);
    const tables = [
      module.largest.length
        ? table(
            [
              ["largest functions", "name", (one) => one.name || `function ${one.index}`],
              ["size", "number", (one) => bytes(one.size)],
            ],
            module.largest,
            10,
          )
        : null,
      module.tables.length
        ? table(
            [
              ["table", "name", (one) => `${one.index} ${one.name}`],
              ["type", "", (one) => one.type],
              ["elements", "number", (one) => count.format(one.size)],
              ["filled", "number", (one) => count.format(one.filled)],
            ],
            module.tables,
            10,
          )
        : null,
      module.globals.length
        ? table(
            [
              ["global", "name", (one) => `${one.index} ${one.name}`],
              ["type", "", (one) => (one.mutable ? `mut ${one.type}` : one.type)],
              ["value", "name", (one) => cut(one.value, 60)],
            ],
            module.globals,
            10,
          )
        : null,
      module.objects.length
        ? table(
            [
              ["objects of type", "name", (one) => one.name || `${one.form} ${one.typeidx}`],
              ["number", "number", (one) => `${count.format(one.count)}${one.exact ? "" : " or more"}`],
            ],
            module.objects,
            10,
          )
        : null,
    ].filter(Boolean);
    this.section(
      alone ? "The module" : `Module ${part.name}`,
      about,
      element(
        "div",
        { className: "columns" },
        ...tables.map((one) => element("div", {}, element("h3"), one)),
      ),
    );
  }

  run() {
    const { run } = this.held;
    const times = Object.entries(run.seconds)
      .filter(([, time]) => time >= 0.0005)
      .sort((a, b) => b[1] - a[1]);
    const total = times.reduce((sum, [, time]) => sum + time, 0);
    const parts = [
      table(
        [
          ["stage", "name", ([stage]) => stage],
          ["time", "number", ([, time]) => seconds(time)],
          ["", "number", ([, time]) => percent(time, total)],
          ["", "bar", ([, time]) => meter(time / total)],
        ],
        times,
      ),
      element("h3", {}, "What ran"),
      facts([
        [
          "functions",
          run.ran
            .map(({ name, count: times_ }) => (times_ > 1 ? `${name} (${times_} times)` : name))
            .join(", "),
        ],
        ["input", run.input],
        ["output", run.output],
        ["layout", run.layout],
        ["limits", run.limits.join(", ")],
        ["calls not counted", run.unobserved.map(({ module, name }) => `${module} ${name}`).join(", ")],
      ]),
    ];
    if (run.calls.length) {
      parts.push(
        element("h3", {}, "Imports called"),
        table(
          [
            ["import", "name", (one) => `${one.module} ${one.name}`],
            ["calls", "number", (one) => count.format(one.count)],
          ],
          run.calls,
        ),
      );
    }
    if (run.files.length) {
      parts.push(element("h3", {}, "Files read"), table([["file", "name", (path) => code(path)]], run.files));
    }
    this.section("The run", ...parts);
  }
}
