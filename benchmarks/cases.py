"""What is measured: one `Case` for each input, and what issue and README promise of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Tool = Literal["ours", "wasmtime", "wizer"]
Mode = Literal["cold", "warm"]

TITLES: Final[dict[Tool, str]] = {
    "ours": "this project",
    "wasmtime": "`wasmtime wizer` 49",
    "wizer": "`wizer` 11",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An input, and how it is pre-initialised.

    Attributes:
        name: names the input file; `inputs.py` has a builder of this name.
        title: what the table calls it.
        wasi: whether the guest may use WASI.
        options: further options, which all tools spell alike.
        script: whether the guest is told what to do as ComponentizeJS does it: in the environment, on
            standard input, and with files; `inputs.py` leaves all of that beside the input.
        drive: how `alike.py` talks to the outputs.
        most: by figure, the most that it may be relative to ``wasmtime wizer``.
        most_peak: the most bytes of memory that it may take at its peak; 0: as many as it takes.
        modes: without a compilation cache, and with one that has seen the module.
        patience: seconds until the comparison of the outputs is given up.
        heavy: left out by ``--quick``.
    """

    name: str
    title: str
    wasi: bool = False
    options: tuple[str, ...] = ()
    script: bool = False
    drive: Literal["exports", "quickjs", "command", "component", "starling"] = "exports"
    most: tuple[tuple[str, float], ...] = ()
    most_peak: int = 0
    modes: tuple[Mode, ...] = ("cold", "warm")
    patience: int = 900
    heavy: bool = False


_ALL: Final = (("size", 1.0), ("start", 1.05))
_CODE: Final = (("cold", 0.35), ("warm", 0.90), *_ALL)
_LITTLE_CODE: Final = (("cold", 0.35), ("warm", 1.50), *_ALL)

CASES: Final = (
    Case(name="empty", title="an empty initialisation function", most=_ALL),
    Case(name="quickjs", title="QuickJS with an application", wasi=True, drive="quickjs", most=_LITTLE_CODE),
    Case(
        name="c",
        title="a C program",
        wasi=True,
        options=("-r", "_start=wizer.resume"),
        drive="command",
        most=_ALL,
    ),
    Case(name="code-1", title="1 MB of code", wasi=True, drive="quickjs", most=_LITTLE_CODE),
    Case(name="code-10", title="10 MB of code", wasi=True, drive="quickjs", most=_CODE),
    Case(
        name="starling",
        title="a JavaScript engine of 10 MB with an application",
        wasi=True,
        options=("--init-func", "componentize.wizer"),
        script=True,
        drive="starling",
        most=(("cold", 0.35), ("warm", 0.80), *_ALL),
    ),
    Case(name="code-50", title="50 MB of code", wasi=True, drive="quickjs", most=_CODE, heavy=True),
    Case(
        name="dense",
        title="dense memory: 256 MiB, random",
        most=(("cold", 0.90), ("peak", 0.50), *_ALL),
    ),
    Case(name="sparse", title="sparse memory: 4 GiB, a byte in every MiB", most=(("cold", 0.25), *_ALL)),
    Case(
        name="striped",
        title="striped memory: 64 MiB, 4 bytes in every 12",
        most=(("cold", 0.80), ("peak", 0.50), *_ALL),
    ),
    Case(name="growing-1", title="memory of 1 MiB, half of it filled", most=_ALL),
    Case(name="growing-16", title="memory grown from 1 MiB to 16 MiB, half of it filled", most=_ALL),
    Case(name="growing-256", title="memory grown from 1 MiB to 256 MiB, half of it filled", most=_ALL),
    Case(
        name="growing-1024",
        title="memory grown from 1 MiB to 1 GiB, half of it filled",
        most=(("cold", 0.70), *_ALL),
        heavy=True,
    ),
    Case(name="globals", title="10,000 globals", most=_ALL),
    Case(name="table-kept", title="a table of a million functions, left alone", most=_ALL),
    Case(name="table-set", title="a table of a million functions, set", most=_ALL),
    Case(
        name="verified",
        title="dense memory: 256 MiB, random, with `--verify`",
        options=("--verify",),
        most_peak=500_000_000,
        modes=("cold",),
    ),
    # No peer takes these; what counts is how they grow.
    *(
        Case(name=name, title=title, modes=("cold",), patience=60, heavy=name == "heap-1m")
        for name, title in (
            ("table-gc", "a table of a million objects"),
            ("heap-125k", "a heap of 125,000 objects"),
            ("heap-250k", "a heap of 250,000 objects"),
            ("heap-500k", "a heap of 500,000 objects"),
            ("heap-1m", "a heap of a million objects"),
        )
    ),
    Case(
        name="component",
        title="a component with 64 MiB, random",
        drive="component",
        most=(("cold", 0.80), *_ALL),
    ),
    Case(
        name="python",
        title="a component with Python and an application",
        # wasmtime wizer takes away the export of the module inside as well, to which the component refers.
        options=("--keep-init-func=true",),
        drive="component",
        most=(("cold", 0.25), ("warm", 0.90), *_ALL),
    ),
)
