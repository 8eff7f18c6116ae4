"""Growth of memory that a limit refused: the engine refuses it, and tells nobody but the guest.

Where a limit was asked for, the copy that runs asks for memory through a function that notes what came of it;
the snapshot has its bodies as they were. Before::

    (func … (memory.grow $m (local.get $pages)) …)

After::

    (global $n (export "wizer:memory0.refused") (mut i32) (i32.const 0))
    (global $asked (export "wizer:memory0.asked") (mut i64) (i64.const 0))      ;; pages, the most
    (func $grow (param $pages i32) (result i32) …)
    (func … (call $grow (local.get $pages)) …)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from wizer.binary import code
from wizer.binary.additions import Additions
from wizer.binary.expr import END, encode_const
from wizer.binary.externs import GlobalType
from wizer.binary.instructions import Replacement, found_in_bodies
from wizer.binary.leb128 import any_unsigned, encode_unsigned
from wizer.binary.module import Module
from wizer.binary.reader import Reader
from wizer.units import exact_size, written_size

if TYPE_CHECKING:
    from wizer.core.live import Live

_GROW = 0x40


def note_growth(additions: Additions) -> tuple[int, ...]:
    """Have the instrumented module note what growth was refused; return the memories that it can grow.

    Shared ones are left out: the engine lets them grow to what they declare.
    """
    module = additions.module
    own = [index for index, memory in enumerate(module.memories) if not memory.limits.shared]
    if not own:
        return ()
    pattern = re.compile(b"\x40(?:%b)" % b"|".join(map(any_unsigned, own)))

    def read(reader: Reader, opcode: int) -> int | None:
        return reader.u32() if opcode == _GROW else None

    found = {
        body: [each for each in grows if each[2] in own]
        for body, grows in found_in_bodies(module, pattern, read).items()
    }
    growing = tuple(sorted({memidx for grows in found.values() for _, _, memidx in grows}))
    helpers = {memidx: _add_helper(additions, memidx) for memidx in growing}
    for body, grows in found.items():
        calls = [Replacement(start, end, code.call(helpers[memidx])) for start, end, memidx in grows]
        additions.replace(body, calls)
    return growing


def _add_helper(additions: Additions, memidx: int) -> int:
    """Add the function that grows a memory and notes where that fails; return its index."""
    limits = additions.module.memories[memidx].limits
    address = limits.address_type
    most = 1 << (48 if limits.is64 else 32 - additions.module.memories[memidx].page_size_log2)
    if limits.maximum is not None:
        most = min(most, limits.maximum)
    refused = additions.exported_i32(f"memory{memidx}.refused", 0, mutable=True)
    asked = additions.global_(GlobalType("i64", True), encode_const("i64", 0))
    additions.export(f"memory{memidx}.asked", "global", asked)
    pages, sum_, result = range(3)
    widened = b"" if limits.is64 else code.I64_EXTEND_I32_U
    failed = encode_const(address, (1 << (64 if limits.is64 else 32)) - 1)
    equal = code.I64_EQ if limits.is64 else code.I32_EQ
    body = b"".join(
        [
            b"\x3f" + encode_unsigned(memidx) + widened + code.local_get(pages) + widened,
            code.I64_ADD + code.local_set(sum_),
            code.local_get(pages) + b"\x40" + encode_unsigned(memidx) + code.local_tee(result),
            failed + equal + code.IF,
            # More than the memory may ever have is refused by itself.
            encode_const("i64", most) + code.local_get(sum_) + code.I64_GE_U + code.IF,
            code.global_get(refused) + encode_const("i32", 1) + code.I32_ADD + code.global_set(refused),
            code.global_get(asked) + code.local_get(sum_) + code.I64_LT_U + code.IF,
            code.local_get(sum_) + code.global_set(asked),
            END + END + END + code.local_get(result),
        ]
    )
    return additions.func(None, (address,), (address,), body, ("i64", address))


def refused_growth(
    module: Module, growing: Iterable[int], prefix: str, live: Live, bound: int | None
) -> Iterator[str]:
    """Yield what to say of each memory to which the limit of ``bound`` bytes refused something.

    Args:
        module: the original module.
        growing: what `note_growth` returned.
        prefix: what the names of the exports that were added begin with.
        live: the instance.
        bound: the limit.
    """
    for memidx in growing:
        times = live.number(f"{prefix}memory{memidx}.refused")
        if times and bound is not None:
            asked = live.number(f"{prefix}memory{memidx}.asked") * module.memories[memidx].page_size
            yield (
                f"{module.describe('memory', memidx)} asked to grow to {written_size(asked)}: refused "
                f"by --max-memory {exact_size(bound)}, {times} time{'s' if times > 1 else ''}"
            )
