"""Turn raw figures into a page and a picture: ``python report.py docs/benchmarks.json``."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cases import CASES, TITLES, Case, Tool

COLOURS = {"cold": "#2a6f97", "warm": "#f4a259", "peak": "#8cb369"}
LABELS = {"cold": "time, cold", "warm": "time, warm cache", "peak": "peak memory"}


def figure(figures: dict[str, Any], tool: Tool, what: str) -> float | None:
    """Return one figure: ``cold`` and ``warm`` in seconds, ``peak`` and ``size`` in bytes, ``start``."""
    found: float | None
    if what == "size":
        found = figures.get(tool, {}).get("size")
    elif what == "start":
        found = figures["outputs"].get("start", {}).get(tool)
    else:
        mode, key = ("cold", "peak") if what == "peak" else (what, "wall")
        found = figures.get(tool, {}).get(mode, {}).get(key)
    return found


def ratio(figures: dict[str, Any], what: str, peer: Tool = "wasmtime") -> float | None:
    """Return what ours is relative to a peer's, None where either is missing."""
    ours, theirs = figure(figures, "ours", what), figure(figures, peer, what)
    return None if ours is None or not theirs else ours / theirs


def page(results: dict[str, Any]) -> str:
    """Return the page in Markdown."""
    cases = [(case, results["cases"][case.name]) for case in CASES if case.name in results["cases"]]
    parts = [
        "# Benchmarks",
        "Written by `python benchmarks/run.py`, which installs the tools, builds the inputs, runs all side "
        "by side in turns, and checks that the outputs behave alike. "
        f"Medians of at least {results['rounds']} runs on {results['machine']}. "
        "*Cold*: without a compilation cache (`-C cache=n`); *warm*: the same module once more. "
        "The standalone `wizer` has no cache. Ratios are ours to theirs: below 1 is better here. Outputs are "
        "of the layout `small`, which counts bytes as the others do; [layouts.md](layouts.md) compares the "
        "layouts, on real programs.",
        "![Ratios to `wasmtime wizer` 49](benchmarks.svg)",
        "## What should be shown",
        *_promises(cases),
        "## Start-up",
        *_startup(results["startup"]),
        "## Time",
        *_times(cases),
        "## Peak memory, output, and its start",
        "*Start*: from instantiation to the end of a first call in wasmtime, compiled beforehand.",
        *_outputs(cases),
        "## Processor time of all threads, cold",
        *_processor(cases),
        "## How it grows",
        *_growth(results["cases"]),
        "## What the others refuse, or make an invalid module of",
        *_refused(cases),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _promises(cases: list[tuple[Case, dict[str, Any]]]) -> Iterator[str]:
    names = {
        "cold": "time, cold",
        "warm": "time, warm",
        "peak": "peak memory",
        "size": "output size",
        "start": "instantiate and first call",
    }
    rows = []
    for case, figures in cases:
        for what, most in case.most:
            found = ratio(figures, what)
            verdict = "not comparable" if found is None else "met" if _met(found, most) else "**missed**"
            rows.append([case.title, names[what], f"{most:.2f}", _ratio(found), verdict])
        if case.most_peak:
            peak = figure(figures, "ours", "peak")
            verdict = "met" if peak is not None and peak <= case.most_peak else "**missed**"
            rows.append([case.title, "peak memory", _megabytes(case.most_peak), _megabytes(peak), verdict])
        alike = figures["outputs"].get("alike")
        verdict = {True: "yes", False: "**no**", None: figures["outputs"].get("failed", "")}[alike]
        rows.append([case.title, "outputs behave alike", "", "", verdict])
    yield _table(["input", "ours to `wasmtime wizer` 49", "at most", "measured", ""], rows)


def _met(found: float, most: float) -> bool:
    return round(found, 2) <= most


def _startup(startup: dict[str, float]) -> Iterator[str]:
    rows = [
        [
            "`wizer --version` to `python -c pass`",
            "4.00",
            _ratio(startup["version"] / startup["pass"]),
            f"{startup['version'] * 1000:.0f} ms, {startup['pass'] * 1000:.0f} ms",
        ],
        [
            'an empty module to `python -c "import wasmtime"`',
            "2.00",
            _ratio(startup["empty"] / startup["import"]),
            f"{startup['empty'] * 1000:.0f} ms, {startup['import'] * 1000:.0f} ms",
        ],
    ]
    took = f"{startup['empty'] * 1000:.0f} ms"
    rows.append(["an empty module", "50 ms", took, "met" if startup["empty"] <= 0.05 else "**missed**"])
    yield _table(["", "at most", "measured", "times"], rows)


def _times(cases: list[tuple[Case, dict[str, Any]]]) -> Iterator[str]:
    head = ["input", "ours, cold", f"{TITLES['wasmtime']}, cold", "ratio", TITLES["wizer"], "ratio"]
    head += ["ours, warm", f"{TITLES['wasmtime']}, warm", "ratio"]
    rows = []
    for case, f in cases:
        row = [case.title, _seconds(figure(f, "ours", "cold")), _seconds(figure(f, "wasmtime", "cold"))]
        row += [_ratio(ratio(f, "cold")), _seconds(figure(f, "wizer", "cold"))]
        row += [_ratio(ratio(f, "cold", "wizer")), _seconds(figure(f, "ours", "warm"))]
        row += [_seconds(figure(f, "wasmtime", "warm")), _ratio(ratio(f, "warm"))]
        rows.append(row)
    yield _table(head, rows)


def _outputs(cases: list[tuple[Case, dict[str, Any]]]) -> Iterator[str]:
    def columns(what: str, shown: Callable[[float | None], str], f: dict[str, Any]) -> list[str]:
        return [shown(figure(f, "ours", what)), shown(figure(f, "wasmtime", what)), _ratio(ratio(f, what))]

    head = ["input"]
    for what in ("peak", "size", "start"):
        head += [f"{what}, ours", TITLES["wasmtime"], "ratio"]
    rows = [
        [case.title, *columns("peak", _megabytes, f), *columns("size", _bytes, f), *columns("start", _ms, f)]
        for case, f in cases
    ]
    yield _table(head, rows)


def _processor(cases: list[tuple[Case, dict[str, Any]]]) -> Iterator[str]:
    def of(f: dict[str, Any], tool: Tool) -> float | None:
        found: float | None = f.get(tool, {}).get("cold", {}).get("cpu")
        return found

    rows = []
    for case, f in cases:
        ours, theirs = of(f, "ours"), of(f, "wasmtime")
        both = None if ours is None or not theirs else ours / theirs
        rows.append([case.title, _seconds(ours), _seconds(theirs), _ratio(both), _seconds(of(f, "wizer"))])
    yield _table(["input", "ours", TITLES["wasmtime"], "ratio", TITLES["wizer"]], rows)


def _growth(cases: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield the slope of memory, and seconds for each object of the heap."""
    first, last = cases.get("growing-1"), cases.get("growing-1024") or cases.get("growing-256")
    size = 1024 if "growing-1024" in cases else 256
    if first and last:
        slopes = []
        for tool in TITLES:
            begin, end = figure(first, tool, "cold"), figure(last, tool, "cold")
            if begin is not None and end is not None:
                slopes.append(f"{TITLES[tool]} {(end - begin) / (size - 1) * 1000:.2f} ms")
        yield f"Memory from 1 MiB to {size} MiB, half of it filled, takes for each further MiB: " + ", ".join(
            slopes
        )
    rows = []
    for name, objects in (("heap-125k", 125), ("heap-250k", 250), ("heap-500k", 500), ("heap-1m", 1000)):
        if name in cases and (seconds := figure(cases[name], "ours", "cold")) is not None:
            peak = figure(cases[name], "ours", "peak")
            each = f"{seconds * 1000 / objects:.1f} µs"
            rows.append([f"{objects:,},000", _seconds(seconds), each, _megabytes(peak)])
    if rows:
        yield _table(["objects", "ours, cold", "for each object", "peak memory"], rows)


def _refused(cases: list[tuple[Case, dict[str, Any]]]) -> Iterator[str]:
    lines = []
    for case, figures in cases:
        for tool in TITLES:
            said = figures.get(tool, {}).get("cold", {}).get("failed")
            said = said or figures["outputs"].get("invalid", {}).get(tool)
            if said:
                lines.append(f"- {case.title}: {TITLES[tool]}: {said[:160]}")
    yield "\n".join(lines) or "Nothing."


def _seconds(value: float | None) -> str:
    return "—" if value is None else f"{value:.3f} s" if value < 10 else f"{value:.1f} s"


def _ms(value: float | None) -> str:
    return "—" if value is None else f"{value * 1000:.3f} ms"


def _megabytes(value: float | None) -> str:
    return "—" if value is None else f"{value / 1e6:.0f} MB"


def _bytes(value: float | None) -> str:
    return "—" if value is None else f"{int(value):,}"


def _ratio(value: float | None) -> str:
    return "—" if value is None else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def picture(results: dict[str, Any]) -> str:
    """Draw the ratios to ``wasmtime wizer`` as SVG: bars for each input, on a logarithmic scale."""
    rows = [(case, results["cases"][case.name]) for case in CASES if case.name in results["cases"]]
    rows = [(case, figures) for case, figures in rows if ratio(figures, "cold") is not None]
    bottom = 50 + 46 * len(rows)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-60 0 1020 {bottom + 50}" font-size="13" '
        'font-family="system-ui, sans-serif" fill="#333">',
        f'<rect x="-60" width="1020" height="{bottom + 50}" fill="white"/>',
    ]
    for number, (what, colour) in enumerate(COLOURS.items()):
        out.append(f'<rect x="{330 + 150 * number}" y="14" width="12" height="12" fill="{colour}"/>')
        out.append(f'<text x="{348 + 150 * number}" y="25">{LABELS[what]}</text>')
    for mark in (0.1, 0.25, 0.5, 1, 2, 4, 10):
        colour = "#333" if mark == 1 else "#ddd"
        out.append(f'<path d="M{_x(mark):.1f} 40V{bottom}" stroke="{colour}"/>')
        out.append(f'<text x="{_x(mark):.1f}" y="{bottom + 18}" text-anchor="middle">{mark:g}</text>')
    caption = "relative to wasmtime wizer 49: left of 1 is less here"
    out.append(f'<text x="{_x(1):.1f}" y="{bottom + 38}" text-anchor="middle">{caption}</text>')
    for number, (case, figures) in enumerate(rows):
        top = 46 + 46 * number
        out.append(f'<text x="318" y="{top + 24}" text-anchor="end">{case.title}</text>')
        for place, (what, colour) in enumerate(COLOURS.items()):
            if (value := ratio(figures, what)) is not None:
                out += _bar(value, top + 13 * place, colour)
    return "\n".join([*out, "</svg>"]) + "\n"


def _x(value: float) -> float:
    """Return where a ratio is: from 0.04 on the left to 30 on the right."""
    return 330 + 600 * math.log(min(max(value, 0.04), 30) / 0.04) / math.log(30 / 0.04)


def _bar(value: float, top: int, colour: str) -> list[str]:
    left, right = sorted((_x(value), _x(1)))
    x, anchor = (left - 4, "end") if value < 1 else (right + 4, "start")
    return [
        f'<rect x="{left:.1f}" y="{top}" width="{right - left:.1f}" height="12" fill="{colour}"/>',
        f'<text x="{x:.1f}" y="{top + 10}" font-size="10" text-anchor="{anchor}">{value:.2f}</text>',
    ]


def main() -> None:
    """Write the page and the picture beside the raw figures."""
    raw = Path(sys.argv[1])
    results = json.loads(raw.read_text())
    raw.with_suffix(".md").write_text(page(results))
    raw.with_suffix(".svg").write_text(picture(results))


if __name__ == "__main__":
    main()
