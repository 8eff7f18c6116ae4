"""What the tests of `inspect` and `diff` share."""

from __future__ import annotations

import json
from collections.abc import Iterator

import wasmtime

from wizer import Inspection


def wat(text: str) -> bytes:
    """A module or component in the binary format."""
    return bytes(wasmtime.wat2wasm(text))


def all_of(inspection: Inspection) -> Iterator[Inspection]:
    """A file, and all parts of it."""
    yield inspection
    for part in inspection.parts:
        yield from all_of(part)


def check_accounts(inspection: Inspection) -> None:
    """Every byte of the file and of memory is accounted for, and the record is JSON."""
    for part in all_of(inspection):
        here = part.start
        for section in part.sections:
            assert section.start == here
            here += section.size
        assert here == part.start + part.size
        for memory in part.module.memories if part.module else ():
            assert sum(memory.density) == memory.nonzero == sum(r.nonzero for r in memory.regions)
            ends = [0, *(region.end for region in memory.regions)]
            assert [region.start for region in memory.regions] == ends[:-1]
            assert ends[-1] >= memory.size
    assert json.loads(json.dumps(inspection.to_dict()))["size"] == inspection.size
