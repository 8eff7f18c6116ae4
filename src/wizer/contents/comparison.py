"""Diff: where two modules or components differ, item by item and byte by byte of memory. Nothing is run."""

from __future__ import annotations

from wizer.binary.sections import is_component
from wizer.contents.changes import Diff
from wizer.engine.text import Wasm, to_binary
from wizer.errors import asking_for_numpy

with asking_for_numpy():
    from wizer.contents.compare_modules import diff_modules


def diff(first: Wasm, second: Wasm, *, names: tuple[str, str] = ("first", "second")) -> Diff:
    """Return where two modules or components differ: originals, snapshots, or one of each.

    Memories are compared as instantiation leaves them, so it makes no difference in which data segments their
    contents stand. What refers to functions is compared by their names, where these say which is which.

    Args:
        first: bytes (binary or text format), a string (text format) or the path of a file.
        second: the same.
        names: what to call them.

    Raises:
        InputError: a file cannot be read.
        InvalidError: a text is malformed. What is broken in a binary is no error: see `Diff.problems`.
    """
    return diff_binaries(to_binary(first), to_binary(second), names)


def diff_binaries(first: bytes, second: bytes, names: tuple[str, str]) -> Diff:
    """Return where two modules or components in the binary format differ."""
    if is_component(first) or is_component(second):
        from wizer.contents.compare_components import diff_components

        return diff_components(first, second, names)
    return diff_modules(first, second, names)
