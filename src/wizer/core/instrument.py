"""Instrument: make the state of an instance readable from outside.

Before::

    (module
      (memory 1)
      (table 4 funcref)
      (global $g (mut i32) (i32.const 0))
      (func $f (export "f")))

After::

    (module
      (memory 1)
      (table 4 funcref)
      (global $g (mut i32) (i32.const 0))
      (func $f (export "f"))
      (export "wizer:memory0" (memory 0))
      (func (export "wizer:globals0") (result i32) (global.get $g))
      (func (export "wizer:functions0") (result funcref) (ref.func $f))
      (func (export "wizer:table0.size") (result i32) (table.size 0))
      …)

Everything is appended: nothing is renumbered and no body changes. An accessor hands out its values as
results, many at a time, since a call from the host costs more than what it reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from wizer.binary import code
from wizer.binary import sections as sec
from wizer.binary.additions import MAX_ELEMENT_SEGMENTS, Additions
from wizer.binary.assemble import Chunk
from wizer.binary.expr import Expr, encode_const, encode_ref_func
from wizer.binary.externs import AddressType, TableType
from wizer.binary.leb128 import any_unsigned
from wizer.binary.module import Module
from wizer.binary.segments import ElementSegment
from wizer.binary.types import (
    FUNCREF,
    FUNCREF_NON_NULL,
    ArrayType,
    FuncType,
    RefType,
    StorageType,
    StructType,
    ValType,
    hierarchy,
    unpacked,
)
from wizer.core.libc import forgetting_functions
from wizer.core.previous import previous
from wizer.core.tables import is_known
from wizer.records import record, replace

if TYPE_CHECKING:
    from wizer.core.growth import Growing
    from wizer.core.scratch import ElementCopies

# Results of one accessor. A function may have 1,000 of them; a page of raw values holds 256.
BATCH: Final = 64
MAX_BATCH: Final = 500

# References that each frame of ``table{i}.hold`` keeps; more frames of fewer take more of the stack.
HELD: Final = 32

# The codes of the `kind.exn` accessor; those from FIRST_TAG on are a tag index more.
KIND_FOREIGN_TAG, FIRST_TAG = 1, 2

_ANYREF: Final = RefType(nullable=True, heap="any")
_EXTERNREF: Final = RefType(nullable=True, heap="extern")
_EXNREF: Final = RefType(nullable=True, heap="exn")

# `data.drop` and `elem.drop`.
DROPS: Final = re.compile(b"\xfc(?:%b|%b)" % (any_unsigned(9), any_unsigned(13)))


# `table.init`, `table.copy`, `table.grow` and `table.fill`.
_TABLE_WRITES: Final = re.compile(b"\xfc(?:%b|%b|%b|%b)" % (*map(any_unsigned, (12, 14, 15, 17)),))


@record
class Accessors:
    """What the instrumented module lets a caller read, all exported under ``prefix``.

    Attributes:
        prefix: begins no export of the original module.
        globals: ``globals{n}`` returns the globals of the n-th tuple.
        functions: ``functions{n}`` returns references to the functions of the n-th tuple.
        tables: those that may change; for each, ``table{i}.size``, ``.next`` (the first element from a place
            on that is not null) and ``.read`` (`BATCH` elements from a place on; past the end, the last one
            is repeated). Of objects also ``.hold``: frames, as many as it is told and one more, keep `HELD`
            elements each, from a place on.
        data_drops, element_drops: ``data{i}.probe`` and ``element{i}.probe`` trap where the segment, which
            is not empty, has been dropped.
        elements: ``element{i}.read`` returns `BATCH` elements of a passive segment from a place on.
        heap: whether the accessors of `wizer.core.instrument_heap` are there: the module may hold objects.
        found_size: the bytes of ``heap.found``, where it is a function and no memory.
        exceptions: whether ``kind.exn`` and ``exn{tag}`` are there.
        forget: what libc knows of the host and can forget; ``forget.{what}`` does it.
        growing: the memories and tables of which growth that is refused is noted; see `wizer.core.growth`.
    """

    prefix: str
    globals: tuple[tuple[int, ...], ...] = ()
    functions: tuple[tuple[int, ...], ...] = ()
    tables: tuple[int, ...] = ()
    data_drops: tuple[int, ...] = ()
    element_drops: tuple[int, ...] = ()
    elements: tuple[int, ...] = ()
    heap: bool = False
    found_size: int | None = None
    exceptions: bool = False
    forget: tuple[str, ...] = ()
    growing: tuple[Growing, ...] = ()


def instrument(
    module: Module,
    identity: str | None = None,
    *,
    notes_growth: bool = False,
    data: Sequence[Chunk] | None = None,
) -> tuple[list[Chunk], Accessors]:
    """Return the chunks of ``module`` with accessors appended, and what they are.

    Args:
        module: the module.
        identity: the name, after the prefix, of an export that tells instances of it from others'.
        notes_growth: whether growth that is refused is noted; see `wizer.core.growth`.
        data: another data section; see `wizer.core.moved_data`.
    """
    additions = Additions(module, unused_prefix(module))
    accessors = add_accessors(additions, notes_growth=notes_growth)
    if identity is not None:
        additions.exported_i32(identity, 0)
    return additions.assemble(data), accessors


def add_accessors(additions: Additions, *, notes_growth: bool = False) -> Accessors:
    """Append accessors, and return what they are."""
    growing: tuple[Growing, ...] = ()
    if notes_growth:
        from wizer.core.growth import note_growth

        growing = note_growth(additions)
    heap, found_size = _add_heap(additions)
    accessors = Accessors(
        additions.prefix,
        globals=_add_globals(additions),
        functions=_add_functions(additions),
        tables=_add_tables(additions),
        data_drops=_add_data_probes(additions),
        element_drops=_add_element_probes(additions),
        elements=_add_element_readers(additions),
        heap=heap,
        found_size=found_size,
        exceptions=_add_exceptions(additions),
        forget=_add_forgetting(additions),
        growing=growing,
    )
    for memidx in range(len(additions.module.memories)):
        additions.export(f"memory{memidx}", "memory", memidx)
    return accessors


def unused_prefix(module: Module) -> str:
    """Return a prefix that no export of ``module`` has."""
    prefix = "wizer:"
    while any(export.name.startswith(prefix) for export in module.exports):
        prefix = "wizer" + prefix
    return prefix


def _places(module: Module) -> Iterator[ValType | str]:
    """Yield the types of all places that an instance keeps values in."""
    for global_ in module.globals:
        yield global_.type.valtype
    for table in module.tables:
        yield table.type.element
    for element in module.elements:
        if element.mode == "passive":
            yield element.reftype
    for subtype in module.types:
        if isinstance(subtype.comp, StructType):
            yield from (field.storage for field in subtype.comp.fields)
        elif isinstance(subtype.comp, ArrayType):
            yield subtype.comp.element.storage
    for tag in module.tags:
        yield from module.type_as_func(tag).params


def holds(module: Module, *hierarchies: str) -> bool:
    """Whether an instance has a place for references of one of these hierarchies."""
    return any(
        isinstance(place, RefType) and hierarchy(place.heap, module.types) in hierarchies
        for place in _places(module)
    )


def needs_cranelift(module: Module) -> bool:
    """Whether types occur that Winch does not know: tags, GC types, references other than funcref."""
    places = [*_places(module)]
    for subtype in module.types:
        if not isinstance(subtype.comp, FuncType) or subtype.supertypes or not subtype.final:
            return True
        places += (*subtype.comp.params, *subtype.comp.results)
    return bool(module.tags) or any(
        isinstance(place, RefType) and place not in (FUNCREF, FUNCREF_NON_NULL) for place in places
    )


def _readable(module: Module, valtype: ValType) -> bool:
    """Whether accessors return what a place holds; of a continuation they only tell whether it is null."""
    return isinstance(valtype, str) or hierarchy(valtype.heap, module.types) != "cont"


def _result(module: Module, storage: StorageType) -> tuple[ValType, bytes]:
    """Return the type in which accessors return what a place holds, and the code that converts to it."""
    if isinstance(storage, str):
        return unpacked(storage), b""
    return (storage, b"") if _readable(module, storage) else ("i32", code.REF_IS_NULL)


def _batches(indices: Sequence[int], size: int = MAX_BATCH) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(indices[i : i + size]) for i in range(0, len(indices), size))


def _add_globals(additions: Additions) -> tuple[tuple[int, ...], ...]:
    """Read the globals that can change, those whose objects can, and what is imported."""
    module = additions.module
    appended = previous(module)
    wanted = [
        index
        for index, global_ in enumerate(
            module.globals[: len(module.globals) - (appended.globals if appended else 0)]
        )
        if global_.type.mutable
        or _may_hold_object(module, global_.type.valtype)
        or module.imported("global", index)
    ]
    batches = _batches(wanted)
    for number, batch in enumerate(batches):
        results = [_result(module, module.globals[index].type.valtype) for index in batch]
        body = b"".join(
            code.global_get(index) + convert for index, (_, convert) in zip(batch, results, strict=True)
        )
        additions.func(f"globals{number}", (), [valtype for valtype, _ in results], body)
    return batches


def _may_hold_object(module: Module, valtype: ValType) -> bool:
    return isinstance(valtype, RefType) and hierarchy(valtype.heap, module.types) in ("any", "extern", "exn")


def _add_functions(additions: Additions) -> tuple[tuple[int, ...], ...]:
    """Return references to every function that the instance can refer to: declared and imported ones."""
    module = additions.module
    if not holds(module, "func"):
        return ()
    imported = range(module.import_counts["func"])
    undeclared = sorted(set(imported) - module.refs)
    if len(module.elements) < MAX_ELEMENT_SEGMENTS:
        additions.declared = tuple(undeclared)
    else:
        for funcidx in undeclared:  # an export declares it, too
            additions.export(f"function{funcidx}", "func", funcidx)
    batches = _batches(sorted(module.refs | set(imported)))
    for number, batch in enumerate(batches):
        results = [RefType(nullable=True, heap="func")] * len(batch)
        additions.func(f"functions{number}", (), results, b"".join(map(encode_ref_func, batch)))
    return batches


def changing_tables(module: Module) -> Iterator[int]:
    """Yield the tables of which only a run tells what they hold.

    Others are not imported, not exported, no code writes to them, and they begin as functions and null. Code
    writes to one where the bytes of such an instruction occur in it.
    """
    section = module.section(sec.CODE)
    exported = {export.index for export in module.exports if export.kind == "table"}

    def occurs(pattern: re.Pattern[bytes]) -> bool:
        return section is not None and pattern.search(module.wasm, section.start, section.end) is not None

    any_written = bool(module.tables) and occurs(_TABLE_WRITES)
    for tableidx in range(len(module.tables)):
        if (
            any_written
            or tableidx in exported
            or module.imported("table", tableidx)
            or occurs(re.compile(b"\x26" + any_unsigned(tableidx)))  # table.set
            or not is_known(module, tableidx)
        ):
            yield tableidx


def _add_tables(additions: Additions) -> tuple[int, ...]:
    changing = tuple(changing_tables(additions.module))
    for tableidx in changing:
        table = additions.module.tables[tableidx]
        limits = table.type.limits
        index = limits.address_type
        name = f"table{tableidx}"
        additions.func(f"{name}.size", (), [index], code.table_size(tableidx))
        additions.func(f"{name}.next", [index], [index], _next_body(tableidx, index))
        if _readable(additions.module, table.type.element):
            last = code.table_size(tableidx) + encode_const(index, limits.address_mask) + code.ADD[index]
            body = last + code.local_set(1)
            body += b"".join(_clamped(0, i, 1, 2, index) + code.table_get(tableidx) for i in range(BATCH))
            additions.func(f"{name}.read", [index], [table.type.element] * BATCH, body, [index, index])
        if _may_hold_object(additions.module, table.type.element):
            _add_hold(additions, tableidx, table.type)
    return changing


def _add_hold(additions: Additions, tableidx: int, tabletype: TableType) -> None:
    """Append a function that reads elements, calls itself for those after them, and returns.

    What it has read is used after the call, so that frames keep it meanwhile.
    """
    index = tabletype.limits.address_type
    first = 2
    body = b"".join(
        _plus(0, i, index) + code.table_get(tableidx) + code.local_set(first + i) for i in range(HELD)
    )
    rest = _plus(0, HELD, index) + code.local_get(1) + encode_const("i32", 0xFFFF_FFFF) + code.I32_ADD
    body += code.local_get(1) + code.IF + rest + code.call(additions.next_func) + code.END
    body += b"".join(code.local_get(first + i) + code.REF_IS_NULL + code.DROP for i in range(HELD))
    element = replace(tabletype.element, nullable=True)
    additions.func(f"table{tableidx}.hold", [index, "i32"], (), body, [element] * HELD)


def _plus(localidx: int, constant: int, address: AddressType) -> bytes:
    """Encode the value of a local, an address, plus a constant."""
    if constant == 0:
        return code.local_get(localidx)
    return code.local_get(localidx) + encode_const(address, constant) + code.ADD[address]


def _clamped(base: int, constant: int, last: int, spare: int, address: AddressType) -> bytes:
    """Encode an address, the local ``base`` plus a constant, but at most the local ``last``."""
    index = _plus(base, constant, address) + code.local_tee(spare) + code.local_get(last)
    less = code.local_get(spare) + code.local_get(last) + code.LT_U[address]
    return index + less + code.SELECT


def _next_body(tableidx: int, address: AddressType) -> bytes:
    """Encode a loop that returns the first place from local 0 on whose element is not null, or the size."""
    at_end = code.local_get(0) + code.table_size(tableidx) + code.GE_U[address]
    found = code.local_get(0) + code.table_get(tableidx) + code.REF_IS_NULL + code.I32_EQZ
    step = _plus(0, 1, address) + code.local_set(0) + code.br(0)
    body = code.BLOCK + code.LOOP + at_end + code.br_if(1) + found + code.br_if(1) + step
    body += code.END + code.END
    return body + code.local_get(0)


def _may_drop(module: Module) -> bool:
    """Whether a body may drop a segment: whether the bytes of such an instruction occur in the code."""
    section = module.section(sec.CODE)
    return section is not None and DROPS.search(module.wasm, section.start, section.end) is not None


def _probe_operands(address: AddressType) -> bytes:
    """Encode destination 0, source 1, length 0: this traps exactly where the source is empty."""
    return encode_const(address, 0) + encode_const("i32", 1) + encode_const("i32", 0)


def _add_data_probes(additions: Additions) -> tuple[int, ...]:
    module = additions.module
    if module.data_count is None or not _may_drop(module):
        return ()  # without a DataCount section, no code refers to a segment
    probed = [i for i, data in enumerate(module.data) if data.mode == "passive" and data.end > data.start]
    for dataidx in probed:
        memidx, address = additions.any_memory()
        additions.func(
            f"data{dataidx}.probe", (), (), _probe_operands(address) + code.memory_init(dataidx, memidx)
        )
    return tuple(probed)


def _add_element_probes(additions: Additions) -> tuple[int, ...]:
    module = additions.module
    if not _may_drop(module):
        return ()
    probed = [i for i, element in enumerate(module.elements) if element.mode == "passive" and element.items]
    for elemidx in probed:
        copies = _element_copies(additions, elemidx)
        additions.func(f"element{elemidx}.probe", (), (), copies.init(elemidx, _probe_operands("i32")))
    return tuple(probed)


def _element_copies(additions: Additions, elemidx: int) -> ElementCopies:
    """Return what reads a passive segment; few modules have any that is read."""
    from wizer.core.scratch import element_copies

    return element_copies(additions, additions.module.elements[elemidx].reftype, BATCH)


def makes_objects(module: Module, element: ElementSegment) -> bool:
    """Whether elements of a segment are objects, of its own or those of the module's globals."""
    return any(not isinstance(item, int) and _may_be_object(module, item) for item in element.items)


def _may_be_object(module: Module, item: Expr) -> bool:
    if item.value is None:
        return True
    kind, index = item.value
    return kind == "global" and index is not None and not module.imported("global", index)


def _add_element_readers(additions: Additions) -> tuple[int, ...]:
    """Read passive segments whose expressions made objects when the module was instantiated."""
    module = additions.module
    wanted = [
        i
        for i, element in enumerate(module.elements)
        if element.mode == "passive" and makes_objects(module, element)
    ]
    for elemidx in wanted:
        copies = _element_copies(additions, elemidx)
        body = copies.init(elemidx, encode_const("i32", 0) + code.local_get(0) + code.local_get(1))
        body += copies.elements
        additions.func(f"element{elemidx}.read", ("i32", "i32"), [copies.reftype] * BATCH, body)
    return tuple(wanted)


def _add_heap(additions: Additions) -> tuple[bool, int | None]:
    if not holds(additions.module, "any", "extern"):
        return False, None
    from wizer.core.instrument_heap import add_heap

    return add_heap(additions)


def _add_exceptions(additions: Additions) -> bool:
    """Take exceptions apart by throwing and catching them, the one way there is."""
    module = additions.module
    if not holds(module, "exn"):
        return False
    kind = code.local_get(0) + code.REF_IS_NULL + code.IF + encode_const("i32", 0) + code.RETURN + code.END
    for tagidx in range(len(module.tags)):
        payload = module.type_as_func(module.tags[tagidx]).params
        blocktype = additions.blocktype(payload)
        caught = code.block(blocktype) + _throw_and_catch(tagidx) + code.END
        answer = code.DROP * len(payload) + encode_const("i32", FIRST_TAG + tagidx) + code.RETURN
        kind += code.BLOCK + caught + answer + code.END
        if all(_readable(module, valtype) for valtype in payload):
            body = code.block(blocktype) + _throw_and_catch(tagidx) + code.END
            additions.func(
                f"exn{tagidx}",
                [_EXNREF],
                payload,
                code.BLOCK + body + code.RETURN + code.END + code.UNREACHABLE,
            )
    additions.func("kind.exn", [_EXNREF], ["i32"], kind + encode_const("i32", KIND_FOREIGN_TAG))
    return True


def _add_forgetting(additions: Additions) -> tuple[str, ...]:
    """Export libc's functions that forget what they know of the host."""
    functions = forgetting_functions(additions.module)
    for what, funcidx in functions.items():
        additions.export(f"forget.{what}", "func", funcidx)
    return tuple(functions)


def _throw_and_catch(tagidx: int) -> bytes:
    """Encode a throw whose payload leaves by label 0, and by label 1 where the tag is another one."""
    catches = b"\x02" + code.op(b"\x00", tagidx, 0) + code.op(b"\x02", 1)
    throw = code.local_get(0) + code.THROW_REF
    return code.TRY_TABLE + catches + throw + code.END + code.UNREACHABLE
