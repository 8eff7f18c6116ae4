"""Memories that several instances share: restored once, by whoever comes first.

Every thread instantiates the module again over one imported memory. Active segments would write it back to
the snapshot's state each time, under the running program. After::

    (import "env" "memory" (memory 17 80 shared))
    (data $d passive …)
    (func $claim
      (if (i32.eqz (i32.atomic.rmw.cmpxchg $flag (i32.const 0) $busy))
        (then
          (memory.init $d …)
          (global.set $tls_base …)
          (i32.atomic.store $flag $value)
          (drop (memory.atomic.notify $flag (i32.const -1))))
        (else (loop
          (if (i32.eq (i32.atomic.load $flag) $busy)
            (then (drop (memory.atomic.wait32 $flag $busy (i64.const -1))) (br 1))))))
      (data.drop $d))
    (start $claim)

Globals are each instance's own: what they were set to belongs to the thread that initialised, and is given to
the instance that restores. The others start with what their initialisers say, as they do over a memory that
the program itself has initialised.

The flag is a word of the memory itself that is zero in a fresh one and not in the snapshot. It must not
become zero again while the program runs. The flag by which the program's own start function did the same is
such a word (``__wasm_init_memory`` of wasm-ld); otherwise one that its data segments set and initialisation
left alone, and at last the first that is not zero.

https://github.com/WebAssembly/threads/blob/main/proposals/threads/Overview.md
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from wizer.binary import code
from wizer.binary import sections as sec
from wizer.binary.expr import END, encode_const
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import Module
from wizer.binary.reader import Reader
from wizer.binary.segments import encode_passive_data
from wizer.binary.values import Number
from wizer.core.heap.heapcode import HeapCode
from wizer.core.restore import before_restore
from wizer.core.state import MemoryState, State
from wizer.notices import warn
from wizer.records import replace

BUSY: Final = 0x5772_6974
"""What the flag is while the memory is being restored, unless the snapshot's own value is that."""

_WORD: Final = 4
_LEB = rb"([\x80-\xff]{0,9}[\x00-\x7f])"
_CLAIM: Final = rb"[\x41\x42]%b\x41\x00%b\xfe\x48\x02%b%b"
_CLAIMS: Final = re.compile(_CLAIM % (_LEB, rb"\x41\x01", _LEB, rb"\x0e\x02\x00\x01\x02"), re.DOTALL)
"""``i32.atomic.rmw.cmpxchg`` of a word at a constant place from 0 to 1, then ``br_table 0 1 2``: 0 is to be
initialised, 1 is being, and else it has been. Locks look alike up to the branch."""
_OWN_CLAIMS: Final = re.compile(
    _CLAIM % (_LEB, re.escape(encode_const("i32", BUSY)), _LEB, code.I32_EQZ), re.DOTALL
)
"""The same of an earlier snapshot, from 0 to `BUSY`."""

_I32_EQ: Final = b"\x46"
_NOTIFY, _WAIT, _LOAD, _STORE, _CMPXCHG = (b"\xfe" + bytes((n,)) for n in (0x00, 0x01, 0x10, 0x17, 0x48))


def with_shared(
    module: Module, state: State, heap: HeapCode, max_data_segments: int
) -> tuple[State, HeapCode]:
    """Return a state without the contents of shared memories, and a restore function that writes them.

    Only of memories that are imported: a module's own is nobody else's to instantiate over.
    """
    for memidx, memory in state.memories.items():
        if module.memories[memidx].limits.shared and module.imported("memory", memidx):
            heap = _with_claim(module, state, memidx, memory, heap, max_data_segments)
            emptied = replace(memory, view=memoryview(b""), touched=())
            state = replace(state, memories={**state.memories, memidx: emptied})
    return state, heap


def _with_claim(
    module: Module, state: State, memidx: int, memory: MemoryState, heap: HeapCode, max_data_segments: int
) -> HeapCode:
    from wizer.core.segments import MemoryImage, plan

    is64 = module.memories[memidx].limits.is64
    ranges = [
        (r.start, r.end)
        for r in plan(
            [MemoryImage(memidx, is64, memory.view, memory.touched)], max(max_data_segments - 1, 1)
        ).ranges
    ]
    if not ranges:
        return heap  # all zero, as a fresh one
    flag = _flag(module, memidx, memory.view, ranges)
    parts = [part for start, end in ranges for part in _around(start, end, flag)]
    first = (len(module.data) if module.data_count is not None else 0) + len(heap.passive_data)
    segments = [encode_passive_data(bytes(memory.view[start:end])) for start, end in parts]
    value = int.from_bytes(memory.view[flag : flag + _WORD], "little")
    own = _own_numbers(module, state)
    sets = b"".join(encode_const(n.type, n.bits) + code.global_set(index) for index, n in own.items())
    numbered = [(first + i, *part) for i, part in enumerate(parts)]
    restored = replace(
        heap,
        passive_data=[*heap.passive_data, *segments],
        initialisers={index: init for index, init in heap.initialisers.items() if index not in own},
    )
    return before_restore(module, restored, _claim(memidx, is64, flag, value, numbered, sets))


def _own_numbers(module: Module, state: State) -> dict[int, Number]:
    """Return the mutable globals of the module that hold other numbers than they begin with."""
    numbers: dict[int, Number] = {}
    for globalidx, value in state.globals.items():
        global_ = module.globals[globalidx]
        if not isinstance(value, Number) or not global_.type.mutable or global_.init is None:
            continue
        if global_.init.code != encode_const(value.type, value.bits) + END:
            numbers[globalidx] = value
    return numbers


def _around(start: int, end: int, flag: int) -> Iterator[tuple[int, int]]:
    """Yield what of a range is not the flag, which is written last."""
    for low, high in ((start, min(end, flag)), (max(start, flag + _WORD), end)):
        if low < high:
            yield low, high


def _claim(
    memidx: int, is64: bool, flag: int, value: int, segments: list[tuple[int, int, int]], more: bytes
) -> bytes:
    """Return the code that restores a memory unless others do.

    ``segments``: the index of each, and where in memory it belongs. ``more``: what goes with that.
    """
    address = "i64" if is64 else "i32"
    at = encode_const(address, flag)
    word = b"\x02\x00" if memidx == 0 else b"\x42" + encode_unsigned(memidx) + b"\x00"  # aligned to 4 bytes
    busy = encode_const("i32", BUSY if value != BUSY else BUSY + 1)
    inits = b"".join(
        encode_const(address, start)
        + encode_const("i32", 0)
        + encode_const("i32", end - start)
        + code.memory_init(dataidx, memidx)
        for dataidx, start, end in segments
    )
    finish = at + encode_const("i32", value) + _STORE + word
    finish += at + encode_const("i32", 0xFFFF_FFFF) + _NOTIFY + word + code.DROP
    wait = at + busy + encode_const("i64", 0xFFFF_FFFF_FFFF_FFFF) + _WAIT + word + code.DROP + code.br(1)
    waiting = at + _LOAD + word + busy + _I32_EQ + code.IF + wait + END
    claim = at + encode_const("i32", 0) + busy + _CMPXCHG + word + code.I32_EQZ
    drops = b"".join(code.data_drop(dataidx) for dataidx, _, _ in segments)
    return claim + code.IF + inits + more + finish + code.ELSE + code.LOOP + waiting + END + END + drops


def _flag(module: Module, memidx: int, view: memoryview, ranges: list[tuple[int, int]]) -> int:
    """Return the address of a word that says whether the memory has been restored."""
    candidates = [*_claimed(module, memidx), *_left_alone(module, memidx, view)]
    for address in candidates:
        if address % _WORD == 0 and any(view[address : address + _WORD]):
            return address
    start, end = ranges[0]
    start += next(i for i, byte in enumerate(view[start:end]) if byte)
    flag = start - start % _WORD
    warn(
        f"{module.describe('memory', memidx)} is shared, and nothing in the module tells whether it has been "
        f"initialised: instances restore it as long as the word at {flag:#x} is zero, which it must "
        "not become again while the program runs"
    )
    return flag


def _claimed(module: Module, memidx: int) -> Iterator[int]:
    """Yield the words by which code of the module tells whether memory has been initialised."""
    section = module.section(sec.CODE)
    if memidx or section is None:
        return
    for claims in (_CLAIMS, _OWN_CLAIMS):
        for found in claims.finditer(module.wasm, section.start, section.end):
            address = Reader(found[1], 0, len(found[1])).s64() & 0xFFFF_FFFF
            yield address + Reader(found[2], 0, len(found[2])).u64()


def _left_alone(module: Module, memidx: int, view: memoryview) -> Iterator[int]:
    """Yield words that active segments of the module set, and that still are what those say."""
    for segment in module.data:
        offset = segment.constant_offset
        if segment.mode != "active" or segment.memidx != memidx or offset is None:
            continue
        contents = module.wasm[segment.start : segment.end]
        for address in range(offset + -offset % _WORD, offset + len(contents) - _WORD + 1, _WORD):
            word = contents[address - offset : address - offset + _WORD]
            if any(word) and word == view[address : address + _WORD]:
                yield address
                break
