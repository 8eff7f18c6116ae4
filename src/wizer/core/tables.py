"""What the tables of a module hold once it is instantiated and before anything has run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import count

from wizer.binary.expr import Expr
from wizer.binary.module import Module
from wizer.binary.segments import ElementSegment
from wizer.core.columns import FUNC, Column, Elements, code_of
from wizer.core.state import NULL, FuncRef, Ref
from wizer.kept import kept_of


def initial_element(module: Module, tableidx: int) -> Ref | None:
    """Return what the elements of a new table are: null, a function, or None where only a run tells."""
    init = module.tables[tableidx].init
    return NULL if init is None else _constant(init.value)


def _constant(value: tuple[str, int | None] | None) -> Ref | None:
    match value:
        case ("null", _):
            return NULL
        case ("func", int(funcidx)):
            return FuncRef(funcidx)
    return None


def is_known(module: Module, tableidx: int) -> bool:
    """Whether a table is functions and null before anything has run, at places that no run has to tell."""
    return initial_element(module, tableidx) is not None and all(
        segment.constant_offset is not None
        and (segment.indices is not None or all(_item(item) is not None for item in segment.items))
        for segment in _segments(module, tableidx)
    )


def _item(item: int | Expr) -> Ref | None:
    return FuncRef(item) if isinstance(item, int) else _constant(item.value)


class _FuncRefs(dict[int, FuncRef]):
    """References to functions by index, each made once: the same objects are equal at a glance."""

    def __missing__(self, funcidx: int) -> FuncRef:
        self[funcidx] = made = FuncRef(funcidx)
        return made


def _segments(module: Module, tableidx: int) -> Iterator[ElementSegment]:
    for element in module.elements:
        if element.mode == "active" and element.tableidx == tableidx:
            yield element


def written_elements(
    module: Module, tableidx: int, known: Mapping[int, FuncRef] | None = None
) -> dict[int, Ref] | None:
    """Return the elements that active segments write to a table, or None where only a run tells.

    ``known``: references to use, by function.
    """
    funcs = _FuncRefs(known or {})
    elements: dict[int, Ref] = {}
    for segment in _segments(module, tableidx):
        offset = segment.constant_offset
        if offset is None:
            return None
        if (indices := segment.indices) is not None:
            elements.update(zip(count(offset), map(funcs.__getitem__, indices), strict=False))
            continue
        for position, item in enumerate(segment.items, offset):
            ref = funcs[item] if isinstance(item, int) else _constant(item.value)
            if ref is None:
                return None
            elements[position] = ref
    return elements


def initial_elements(
    module: Module, tableidx: int, known: Mapping[int, FuncRef] | None = None
) -> Mapping[int, Ref] | None:
    """Return the elements that differ from `initial_element`, or None where only a run tells.

    ``known``: references to use, by function.
    """
    default = initial_element(module, tableidx)
    elements = written_elements(module, tableidx, known)
    only_funcs = all(segment.indices is not None for segment in _segments(module, tableidx))
    if elements is None or (default == NULL and only_funcs):
        return elements
    return {position: ref for position, ref in elements.items() if ref != default}


def _initial_codes(module: Module, tableidx: int) -> dict[int, int]:
    """Return the codes of the `initial_elements`, which are known, by position."""
    elements = initial_elements(module, tableidx)
    assert elements is not None
    return {position: code_of(ref) for position, ref in elements.items()}


def is_initial(module: Module, tableidx: int, changed: Elements) -> bool:
    """Whether the elements that differ from the initial one are what active segments wrote."""
    if not is_known(module, tableidx):
        return False
    if isinstance(changed.codes, list):
        what = "initial elements", module.origin, tableidx
        initial = kept_of(module.wasm, what, partial(_initial_codes, module, tableidx))
        return initial == dict(zip(changed.positions, changed.codes, strict=True))
    import numpy as np

    # A table with many elements is compared as a whole, not listed.
    default = code_of(initial_element(module, tableidx) or NULL)
    expected = np.full(module.tables[tableidx].type.limits.minimum, default, np.int64)
    for segment in _segments(module, tableidx):
        offset = segment.constant_offset or 0
        codes: Column
        if (indices := segment.indices) is not None:
            codes = np.array(indices, np.int64) << 2 | FUNC
        else:
            codes = [code_of(_item(item) or NULL) for item in segment.items]
        expected[offset : offset + len(codes)] = codes
    held = np.full(len(expected), default, np.int64)
    held[changed.positions] = changed.codes
    return bool((held == expected).all())
