"""Function bodies that Wizer appends, and the few instructions that they are made of.

https://webassembly.github.io/spec/core/binary/instructions.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wizer.binary.leb128 import encode_unsigned
from wizer.binary.types import ValType, encode_heaptype, encode_valtype

END: Final = b"\x0b"
UNREACHABLE: Final = b"\x00"
RETURN: Final = b"\x0f"
DROP: Final = b"\x1a"
ELSE: Final = b"\x05"
BLOCK: Final = b"\x02\x40"
LOOP: Final = b"\x03\x40"
IF: Final = b"\x04\x40"
TRY_TABLE: Final = b"\x1f\x40"
REF_IS_NULL: Final = b"\xd1"
REF_AS_NON_NULL: Final = b"\xd4"
I32_EQZ: Final = b"\x45"
I32_ADD: Final = b"\x6a"
I32_SUB: Final = b"\x6b"
I32_MUL: Final = b"\x6c"
I32_AND: Final = b"\x71"
I32_SHR_U: Final = b"\x76"
I64_ADD: Final = b"\x7c"
SELECT: Final = b"\x1b"
I32_LT_U: Final = b"\x49"
I64_LT_U: Final = b"\x54"
I32_GE_U: Final = b"\x4f"
I64_GE_U: Final = b"\x5a"
I64_EXTEND_I32_S: Final = b"\xac"
I64_EXTEND_I32_U: Final = b"\xad"
F32_REINTERPRET_I32: Final = b"\xbe"
F64_REINTERPRET_I64: Final = b"\xbf"
THROW_REF: Final = b"\x0a"
ARRAY_LEN: Final = b"\xfb\x0f"
I31_GET_U: Final = b"\xfb\x1e"
ANY_CONVERT_EXTERN: Final = b"\xfb\x1a"
EXTERN_CONVERT_ANY: Final = b"\xfb\x1b"
REF_I31: Final = b"\xfb\x1c"


def block(blocktype: bytes) -> bytes:
    """Encode the head of a ``block``."""
    return b"\x02" + blocktype


def if_(blocktype: bytes) -> bytes:
    """Encode the head of an ``if``."""
    return b"\x04" + blocktype


def op(code: bytes, *immediates: int) -> bytes:
    """Encode an instruction whose immediates are indices or other unsigned integers."""
    return code + b"".join(map(encode_unsigned, immediates))


def local_get(localidx: int) -> bytes:
    """Encode ``local.get``."""
    return op(b"\x20", localidx)


def local_set(localidx: int) -> bytes:
    """Encode ``local.set``."""
    return op(b"\x21", localidx)


def local_tee(localidx: int) -> bytes:
    """Encode ``local.tee``."""
    return op(b"\x22", localidx)


def global_get(globalidx: int) -> bytes:
    """Encode ``global.get``."""
    return op(b"\x23", globalidx)


def global_set(globalidx: int) -> bytes:
    """Encode ``global.set``."""
    return op(b"\x24", globalidx)


def table_get(tableidx: int) -> bytes:
    """Encode ``table.get``."""
    return op(b"\x25", tableidx)


def table_set(tableidx: int) -> bytes:
    """Encode ``table.set``."""
    return op(b"\x26", tableidx)


def table_size(tableidx: int) -> bytes:
    """Encode ``table.size``."""
    return op(b"\xfc", 16, tableidx)


def table_fill(tableidx: int) -> bytes:
    """Encode ``table.fill``."""
    return op(b"\xfc", 17, tableidx)


def table_init(elemidx: int, tableidx: int) -> bytes:
    """Encode ``table.init``."""
    return op(b"\xfc", 12, elemidx, tableidx)


def memory_init(dataidx: int, memidx: int) -> bytes:
    """Encode ``memory.init``."""
    return op(b"\xfc", 8, dataidx, memidx)


def data_drop(dataidx: int) -> bytes:
    """Encode ``data.drop``."""
    return op(b"\xfc", 9, dataidx)


def elem_drop(elemidx: int) -> bytes:
    """Encode ``elem.drop``."""
    return op(b"\xfc", 13, elemidx)


def call(funcidx: int) -> bytes:
    """Encode ``call``."""
    return op(b"\x10", funcidx)


def throw(tagidx: int) -> bytes:
    """Encode ``throw``."""
    return op(b"\x08", tagidx)


def br(labelidx: int) -> bytes:
    """Encode ``br``."""
    return op(b"\x0c", labelidx)


def br_if(labelidx: int) -> bytes:
    """Encode ``br_if``."""
    return op(b"\x0d", labelidx)


def br_table(labels: Sequence[int], default: int) -> bytes:
    """Encode ``br_table``."""
    return op(b"\x0e", len(labels), *labels, default)


def struct_new(typeidx: int) -> bytes:
    """Encode ``struct.new``."""
    return op(b"\xfb\x00", typeidx)


def struct_get(typeidx: int, fieldidx: int) -> bytes:
    """Encode ``struct.get``."""
    return op(b"\xfb\x02", typeidx, fieldidx)


def struct_get_u(typeidx: int, fieldidx: int) -> bytes:
    """Encode ``struct.get_u``."""
    return op(b"\xfb\x04", typeidx, fieldidx)


def struct_set(typeidx: int, fieldidx: int) -> bytes:
    """Encode ``struct.set``."""
    return op(b"\xfb\x05", typeidx, fieldidx)


def array_new(typeidx: int) -> bytes:
    """Encode ``array.new``."""
    return op(b"\xfb\x06", typeidx)


def array_new_default(typeidx: int) -> bytes:
    """Encode ``array.new_default``."""
    return op(b"\xfb\x07", typeidx)


def array_new_fixed(typeidx: int, length: int) -> bytes:
    """Encode ``array.new_fixed``."""
    return op(b"\xfb\x08", typeidx, length)


def array_new_data(typeidx: int, dataidx: int) -> bytes:
    """Encode ``array.new_data``."""
    return op(b"\xfb\x09", typeidx, dataidx)


def array_new_elem(typeidx: int, elemidx: int) -> bytes:
    """Encode ``array.new_elem``."""
    return op(b"\xfb\x0a", typeidx, elemidx)


def array_get(typeidx: int) -> bytes:
    """Encode ``array.get``."""
    return op(b"\xfb\x0b", typeidx)


def array_get_s(typeidx: int) -> bytes:
    """Encode ``array.get_s``."""
    return op(b"\xfb\x0c", typeidx)


def array_get_u(typeidx: int) -> bytes:
    """Encode ``array.get_u``."""
    return op(b"\xfb\x0d", typeidx)


def array_set(typeidx: int) -> bytes:
    """Encode ``array.set``."""
    return op(b"\xfb\x0e", typeidx)


def array_fill(typeidx: int) -> bytes:
    """Encode ``array.fill``."""
    return op(b"\xfb\x10", typeidx)


def array_init_data(typeidx: int, dataidx: int) -> bytes:
    """Encode ``array.init_data``."""
    return op(b"\xfb\x12", typeidx, dataidx)


def array_init_elem(typeidx: int, elemidx: int) -> bytes:
    """Encode ``array.init_elem``."""
    return op(b"\xfb\x13", typeidx, elemidx)


def ref_test(heap: str | int) -> bytes:
    """Encode ``ref.test (ref heap)``."""
    return b"\xfb\x14" + encode_heaptype(heap)


def ref_cast(heap: str | int, *, nullable: bool = False) -> bytes:
    """Encode ``ref.cast (ref heap)`` or ``ref.cast (ref null heap)``."""
    return (b"\xfb\x17" if nullable else b"\xfb\x16") + encode_heaptype(heap)


def encode_body(code: bytes, locals_: Sequence[ValType] = ()) -> bytes:
    """Encode an entry of the code section, ``code`` given without its ``end``."""
    declared = encode_unsigned(len(locals_)) + b"".join(b"\x01" + encode_valtype(t) for t in locals_)
    body = declared + code + END
    return encode_unsigned(len(body)) + body
