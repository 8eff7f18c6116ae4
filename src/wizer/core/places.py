"""What to call the places that hold references, in messages."""

from __future__ import annotations

from typing import Final, TypeAlias

from wizer.binary.module import Module
from wizer.errors import StateError

# Where a value sits: ("global", 3, None) or ("table", 2, 7), with the element.
Place: TypeAlias = "tuple[str, int, int | None]"

# What a place may hold that no module can express, by the top of its hierarchy.
STRANGERS: Final = {
    "any": "an object of the host or of a type that the module does not declare",
    "extern": "a host externref",
    "exn": "an exception whose tag the module does not declare",
    "func": "a function of another instance or of the host that the module does not import",
    "cont": "a continuation",
}


def describe(module: Module, place: Place) -> str:
    """Return what to call a place: ``table 2 ("handlers") element 7``."""
    kind, index, element = place
    if kind == "element segment":
        return f"element segment {index} element {element}"
    name = module.describe("table" if kind == "table" else "global", index)
    return name if element is None else f"{name} element {element}"


def inexpressible(module: Module, place: Place, top: str) -> StateError:
    """Return the error for a place that holds what no module can express."""
    return StateError(f"{describe(module, place)} holds {STRANGERS[top]}, which no module can express")
