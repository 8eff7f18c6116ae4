"""Growth of memories and tables that a limit refused: the engine refuses it, and tells nobody but the guest.

Where a limit was asked for, the copy that runs asks for memory through a function that notes what came of it;
the snapshot has its bodies as they were. Before::

    (func … (memory.grow $m (local.get $pages)) …)

After::

    (global $n (export "wizer:memory0.refused") (mut i32) (i32.const 0))
    (global $asked (export "wizer:memory0.asked") (mut i64) (i64.const 0))      ;; pages, the most
    (func $grow (param $pages i32) (result i32) …)
    (func … (call $grow (local.get $pages)) …)

Of tables likewise. What a start function asks for before it traps is not said: there is no instance to read;
nor what a module asks for that was preloaded: it runs as it is.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from typing import TYPE_CHECKING, Final, Literal

from wizer.binary import code
from wizer.binary.additions import Additions
from wizer.binary.expr import END, encode_const
from wizer.binary.externs import GlobalType
from wizer.binary.instructions import Replacement, found_in_bodies
from wizer.binary.leb128 import any_unsigned, encode_unsigned
from wizer.binary.module import Module
from wizer.binary.reader import Reader
from wizer.binary.types import ValType
from wizer.units import exact_size, written_size

if TYPE_CHECKING:
    from wizer.core.live import Live
    from wizer.engine.limits import Limits

_MEMORY_GROW: Final = 0x40
_PREFIX: Final = 0xFC
_TABLE_GROW: Final = 15  # behind the prefix

Kind = Literal["memory", "table"]
Growing = tuple[Kind, int]
"""What grows: a memory or table, by its index."""


def note_growth(additions: Additions) -> tuple[Growing, ...]:
    """Have the instrumented module note what growth was refused; return what it can grow.

    Shared memories are left out: the engine lets them grow to what they declare.
    """
    module = additions.module
    own = [index for index, memory in enumerate(module.memories) if not memory.limits.shared]
    ways = [b"\x40(?:%b)" % b"|".join(map(any_unsigned, own))] if own else []
    ways += [b"\xfc(?:%b)" % any_unsigned(_TABLE_GROW)] if module.tables else []
    if not ways:
        return ()

    def read(reader: Reader, opcode: int) -> Growing | None:
        if opcode == _MEMORY_GROW:
            return "memory", reader.u32()
        start = reader.pos
        if opcode == _PREFIX and reader.u32() == _TABLE_GROW:
            return "table", reader.u32()
        reader.pos = start
        return None

    # What code names may not be there: the module has not been validated.
    known: dict[Kind, Container[int]] = {"memory": own, "table": range(len(module.tables))}
    found = {
        body: [each for each in grows if each[2][1] in known[each[2][0]]]
        for body, grows in found_in_bodies(module, re.compile(b"|".join(ways)), read).items()
    }
    growing = tuple(sorted({item for grows in found.values() for _, _, item in grows}))
    helpers = {item: _add_helper(additions, *item) for item in growing}
    for body, grows in found.items():
        calls = [Replacement(start, end, code.call(helpers[item])) for start, end, item in grows]
        additions.replace(body, calls)
    return growing


def _add_helper(additions: Additions, kind: Kind, index: int) -> int:
    """Add the function that grows a memory or table and notes where that fails; return its index."""
    module = additions.module
    params: tuple[ValType, ...] = ()
    if kind == "memory":
        limits = module.memories[index].limits
        size, grow = b"\x3f" + encode_unsigned(index), b"\x40" + encode_unsigned(index)
        most = 1 << (48 if limits.is64 else 32 - module.memories[index].page_size_log2)
    else:
        limits, params = module.tables[index].type.limits, (module.tables[index].type.element,)
        size, grow = code.table_size(index), code.table_grow(index)
        most = limits.address_mask
    address = limits.address_type
    params = (*params, address)
    if limits.maximum is not None:
        most = min(most, limits.maximum)
    refused = additions.exported_i32(f"{kind}{index}.refused", 0, mutable=True)
    asked = additions.global_(GlobalType("i64", True), encode_const("i64", 0))
    additions.export(f"{kind}{index}.asked", "global", asked)
    by, sum_, result = range(len(params) - 1, len(params) + 2)
    widened = b"" if limits.is64 else code.I64_EXTEND_I32_U
    failed = encode_const(address, limits.address_mask)
    equal = code.I64_EQ if limits.is64 else code.I32_EQ
    body = b"".join(
        [
            size + widened + code.local_get(by) + widened,
            code.I64_ADD + code.local_set(sum_),
            b"".join(map(code.local_get, range(len(params)))) + grow + code.local_tee(result),
            failed + equal + code.IF,
            # More than it may ever have is refused by itself.
            encode_const("i64", most) + code.local_get(sum_) + code.I64_GE_U + code.IF,
            code.global_get(refused) + encode_const("i32", 1) + code.I32_ADD + code.global_set(refused),
            code.global_get(asked) + code.local_get(sum_) + code.I64_LT_U + code.IF,
            code.local_get(sum_) + code.global_set(asked),
            END + END + END + code.local_get(result),
        ]
    )
    return additions.func(None, params, (address,), body, ("i64", address))


def refused_growth(
    module: Module, growing: Iterable[Growing], prefix: str, live: Live, limits: Limits
) -> Iterator[str]:
    """Yield what to say of each memory and table to which a limit refused something.

    Args:
        module: the original module.
        growing: what `note_growth` returned.
        prefix: what the names of the exports that were added begin with.
        live: the instance.
        limits: those that hold.
    """
    for kind, index in growing:
        times = live.number(f"{prefix}{kind}{index}.refused")
        bound = limits.max_memory if kind == "memory" else limits.max_table_elements
        if not times or bound is None:
            continue
        asked = live.number(f"{prefix}{kind}{index}.asked")
        if kind == "memory":
            size = written_size(asked * module.memories[index].page_size)
            limit = f"--max-memory {exact_size(bound)}"
        else:
            size, limit = f"{asked} elements", f"-W max-table-elements={bound}"
        yield (
            f"{module.describe(kind, index)} asked to grow to {size}: refused by {limit}, "
            f"{times} time{'s' if times > 1 else ''}"
        )
