"""Wizer: the WebAssembly pre-initialiser.

Run a module's initialisation once, at build time, and ship a module that starts in the initialised state::

    from pathlib import Path

    from wizer import Session, Wasi, wizen

    snapshot = wizen(Path("app.wasm"))  # calls its `wizer-initialize`

    with Session(Path("engine.wasm"), wasi=Wasi()) as session:
        session.call("boot", 3)
        session.write("booted.wasm")
"""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers read it; the command line starts without what `typing` takes

if TYPE_CHECKING:
    from typing import Any

    from wizer.api import Instrumented, Wizer, audit, verify, wizen
    from wizer.batch.build import build
    from wizer.batch.jobs import Job, Result
    from wizer.contents.changes import Diff
    from wizer.contents.comparison import diff
    from wizer.contents.inspection import inspect
    from wizer.contents.records import Inspection
    from wizer.engine.ahead import load
    from wizer.engine.config import EngineConfig
    from wizer.engine.deterministic import Deterministic
    from wizer.engine.limits import Limits
    from wizer.engine.wasi import Wasi
    from wizer.errors import (
        ExitError,
        InputError,
        InvalidError,
        LimitError,
        LinkError,
        OptionError,
        OutputError,
        ParseError,
        StateError,
        TrapError,
        WizerError,
        WizerWarning,
    )
    from wizer.session import Session
    from wizer.trust.findings import Audit
    from wizer.trust.verify import VerificationError

__version__ = "0.1.0"

__all__ = [
    "Audit",
    "Deterministic",
    "Diff",
    "EngineConfig",
    "ExitError",
    "InputError",
    "Inspection",
    "Instrumented",
    "InvalidError",
    "Job",
    "LimitError",
    "Limits",
    "LinkError",
    "OptionError",
    "OutputError",
    "ParseError",
    "Result",
    "Session",
    "StateError",
    "TrapError",
    "VerificationError",
    "Wasi",
    "Wizer",
    "WizerError",
    "WizerWarning",
    "__version__",
    "audit",
    "build",
    "diff",
    "inspect",
    "load",
    "verify",
    "wizen",
]

# Where the public names live. They are imported when they are first used: `wizer --version` needs no engine.
_HOMES = {
    "wizer.api": ("Instrumented", "Wizer", "audit", "verify", "wizen"),
    "wizer.contents.changes": ("Diff",),
    "wizer.contents.comparison": ("diff",),
    "wizer.contents.inspection": ("inspect",),
    "wizer.contents.records": ("Inspection",),
    "wizer.batch.build": ("build",),
    "wizer.batch.jobs": ("Job", "Result"),
    "wizer.trust.findings": ("Audit",),
    "wizer.engine.deterministic": ("Deterministic",),
    "wizer.engine.ahead": ("load",),
    "wizer.engine.config": ("EngineConfig",),
    "wizer.engine.wasi": ("Wasi",),
    "wizer.engine.limits": ("Limits",),
    "wizer.session": ("Session",),
    "wizer.trust.verify": ("VerificationError",),
}


def __dir__() -> list[str]:
    """Return the public names, also those that have not been imported yet."""
    return sorted({*__all__, *(name for name in globals() if name[:2] == name[-2:] == "__")})


def __getattr__(name: str) -> Any:
    """Import a public name (PEP 562)."""
    home = next((home for home, names in _HOMES.items() if name in names), "wizer.errors")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
