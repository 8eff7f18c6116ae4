"""The harness itself: an expected kind of reference is met by values of that kind only."""

from __future__ import annotations

import pytest

from support.engine import binary
from wizer import Session
from wizer.engine import capi_values

from . import values

MODULE = binary("""(module (type $s (struct (field i32))) (type $a (array i8))
    (func (export "null") (result anyref) (ref.null any))
    (func (export "i31") (result anyref) (ref.i31 (i32.const 5)))
    (func (export "struct") (result anyref) (struct.new $s (i32.const 1)))
    (func (export "array") (result anyref) (array.new_default $a (i32.const 1)))
    (func (export "host") (param externref) (result anyref) (any.convert_extern (local.get 0))))""")


@pytest.mark.parametrize(
    ("name", "met"),
    [
        ("null", {"refnull", "nullref"}),
        ("i31", {"anyref", "eqref", "i31ref"}),
        ("struct", {"anyref", "eqref", "structref"}),
        ("array", {"anyref", "eqref", "arrayref"}),
        ("host", {"anyref"}),
    ],
)
def test_kinds_of_references(name: str, met: set[str]) -> None:
    kinds = ("refnull", "nullref", "nullexternref", "anyref", "eqref", "i31ref", "structref", "arrayref")
    with Session(MODULE) as session:
        function = session.module.exports_by_name[name]
        arguments = (object(),) * len(session.module.functype(function.index).params)
        actual = capi_values.to_engine(session.store, values.ANYREF, session.call(name, *arguments))
        assert {kind for kind in kinds if values.matches(session.store, {"type": kind}, actual)} == met
