"""Small inputs that take much time or memory."""

from __future__ import annotations

from wizer.binary.leb128 import encode_unsigned
from wizer.binary.sections import MAGIC, MODULE_VERSION, encode_vector_section
from wizer.binary.vectors import encode_bytes, encode_name, encode_vector

_HEADER = MAGIC + MODULE_VERSION
_TYPE, _IMPORT, _FUNCTION, _EXPORT, _ELEMENT, _CODE = 1, 2, 3, 7, 9, 10
_FUNCTYPE = b"\x60\x00\x00"
_EMPTY_BODY = b"\x02\x00\x0b"


def _initialize(funcidx: int) -> bytes:
    exported = encode_name("wizer-initialize") + b"\x00" + encode_unsigned(funcidx)
    return encode_vector_section(_EXPORT, [exported])


def _module(
    types: list[bytes], body: bytes, *, imported: bytes = b"", segments: bytes = b"", funcidx: int = 0
) -> bytes:
    """Return a module with one function of its own, which initialises."""
    functions, code = encode_vector_section(_FUNCTION, [b"\x00"]), encode_vector_section(_CODE, [body])
    types_ = encode_vector_section(_TYPE, types)
    return b"".join([_HEADER, types_, imported, functions, _initialize(funcidx), segments, code])


def imports(count: int) -> bytes:
    """Return a module with as many imported functions."""
    imported = encode_vector_section(_IMPORT, [b"\x01a\x01b\x00\x00"] * count)
    return _module([_FUNCTYPE], _EMPTY_BODY, imported=imported, funcidx=count)


def elements(count: int) -> bytes:
    """Return a module with a passive segment of as many functions."""
    segment = encode_vector_section(_ELEMENT, [b"\x01\x00" + encode_vector([b"\x00"] * count)])
    return _module([_FUNCTYPE], _EMPTY_BODY, segments=segment)


def nested_loops(locals_: int, depth: int, uses: int) -> bytes:
    """Return a module whose locals live through nested loops; a structure type keeps it from Winch."""
    jumps = (
        b"\x20" + encode_unsigned(use % locals_) + b"\x0d" + encode_unsigned(use % depth)
        for use in range(uses)
    )
    body = b"\x01" + encode_unsigned(locals_) + b"\x7f" + b"\x03\x40" * depth + b"".join(jumps)
    return _module([_FUNCTYPE, b"\x5f\x00"], encode_bytes(body + b"\x0b" * (depth + 1)))


def array_of_i31(count: int) -> str:
    """Return a module, as text, that fills an array with as many references to numbers."""
    return f"""(module (type $a (array (mut (ref null any))))
      (global $h (mut (ref null $a)) (ref.null $a))
      (func (export "wizer-initialize") (local i32)
        (global.set $h (array.new_default $a (i32.const {count})))
        (loop (array.set $a (global.get $h) (local.get 0) (ref.i31 (local.get 0)))
          (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const {count}))))))"""
