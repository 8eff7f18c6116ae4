"""Which exports a snapshot has, and under which names."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from support.states import module_of
from wizer.binary.externs import Export
from wizer.core.exports import final_exports
from wizer.errors import OptionError

MODULE = module_of(
    """(module (memory (export "memory") 1)
      (func (export "wizer-initialize")) (func (export "_initialize")) (func (export "_start"))
      (func (export "wizer.resume")) (global (export "g") i32 (i32.const 0)))"""
)
MEMORY, INIT, INITIALIZE, START, RESUME, GLOBAL = MODULE.exports


@pytest.mark.parametrize(
    ("rename", "remove", "keep", "expected"),
    [
        ({}, (), (), (MEMORY, INIT, START, RESUME, GLOBAL)),
        ({}, ["wizer-initialize"], (), (MEMORY, START, RESUME, GLOBAL)),
        ({}, ["memory", "g"], (), (INIT, START, RESUME)),
        ({}, ["memory"], ["_initialize", "memory"], MODULE.exports),
        (
            {"_start": "wizer.resume"},
            ["wizer-initialize"],
            (),
            (MEMORY, Export("_start", "func", RESUME.index), GLOBAL),
        ),
        ({"new": "g"}, (), (), (MEMORY, INIT, START, RESUME, Export("new", "global", 0))),
        (
            {"_start": "wizer.resume", "wizer.resume": "_start"},
            ["wizer-initialize"],
            (),
            (
                MEMORY,
                Export("wizer.resume", "func", START.index),
                Export("_start", "func", RESUME.index),
                GLOBAL,
            ),
        ),
        ({"_initialize": "_start"}, (), (), (MEMORY, INIT, Export("_initialize", "func", 2), RESUME, GLOBAL)),
        ({"_start": "_start"}, (), (), (MEMORY, INIT, START, RESUME, GLOBAL)),
    ],
    ids=[
        "initialize goes",
        "removed",
        "of every kind",
        "kept",
        "renamed",
        "new",
        "swapped",
        "to initialize",
        "to itself",
    ],
)
def test_exports(
    rename: Mapping[str, str], remove: Collection[str], keep: Collection[str], expected: tuple[Export, ...]
) -> None:
    assert final_exports(MODULE, rename=rename, remove=remove, keep=keep) == expected


@pytest.mark.parametrize(
    ("rename", "remove", "keep", "message"),
    [
        ({"new": "nothing"}, (), (), "the Wasm module does not have a `nothing` export"),
        ({}, ["nothing"], (), "the Wasm module does not have a `nothing` export"),
        ({}, (), ["nothing"], "the Wasm module does not have a `nothing` export"),
    ],
)
def test_what_cannot_be(
    rename: Mapping[str, str], remove: Collection[str], keep: Collection[str], message: str
) -> None:
    with pytest.raises(OptionError) as raised:
        final_exports(MODULE, rename=rename, remove=remove, keep=keep)
    assert raised.value.message == message
