"""Function bodies that Wizer appends, and the few instructions that they are made of.

https://webassembly.github.io/spec/core/binary/instructions.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from wizer.binary import expr
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.types import ValType, encode_heaptype, encode_valtype
from wizer.binary.vectors import encode_bytes, encode_vector

END: Final = expr.END
UNREACHABLE: Final = b"\x00"
RETURN: Final = b"\x0f"
DROP: Final = b"\x1a"
ELSE: Final = b"\x05"
BLOCK: Final = b"\x02\x40"
LOOP: Final = b"\x03\x40"
IF: Final = b"\x04\x40"
TRY_TABLE: Final = b"\x1f\x40"
REF_IS_NULL: Final = b"\xd1"
REF_EQ: Final = b"\xd3"
REF_AS_NON_NULL: Final = b"\xd4"
I32_EQZ: Final = b"\x45"
I32_EQ: Final = b"\x46"
I32_ADD: Final = b"\x6a"
I32_SUB: Final = b"\x6b"
I32_MUL: Final = b"\x6c"
I32_AND: Final = b"\x71"
I32_OR: Final = b"\x72"
I32_NE: Final = b"\x47"
I32_SHL: Final = b"\x74"
I32_SHR_U: Final = b"\x76"
I64_EQ: Final = b"\x51"
I64_ADD: Final = b"\x7c"
SELECT: Final = b"\x1b"
I32_LT_U: Final = b"\x49"
I32_GT_U: Final = b"\x4b"
I32_GE_S: Final = b"\x4e"
I64_LT_U: Final = b"\x54"
I32_GE_U: Final = b"\x4f"
I64_GE_U: Final = b"\x5a"
ADD: Final[Mapping[str, bytes]] = {"i32": I32_ADD, "i64": I64_ADD}
LT_U: Final[Mapping[str, bytes]] = {"i32": I32_LT_U, "i64": I64_LT_U}
GE_U: Final[Mapping[str, bytes]] = {"i32": I32_GE_U, "i64": I64_GE_U}
I64_EXTEND_I32_S: Final = b"\xac"
I64_EXTEND_I32_U: Final = b"\xad"
F32_REINTERPRET_I32: Final = b"\xbe"
F64_REINTERPRET_I64: Final = b"\xbf"
MEMORY_SIZE: Final = b"\x3f\x00"
MEMORY_GROW: Final = b"\x40\x00"
I32_STORE8: Final = b"\x3a\x00\x00"
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


def _with_index(opcode: bytes) -> Callable[[int], bytes]:
    """Return what encodes an instruction whose only immediate is an index."""
    return lambda index: opcode + encode_unsigned(index)


def _with_indices(opcode: bytes) -> Callable[[int, int], bytes]:
    """Return what encodes an instruction whose two immediates are indices, or an index and a length."""
    return lambda first, second: opcode + encode_unsigned(first) + encode_unsigned(second)


local_get: Final = _with_index(b"\x20")
local_set: Final = _with_index(b"\x21")
local_tee: Final = _with_index(b"\x22")
global_get: Final = _with_index(b"\x23")
global_set: Final = _with_index(b"\x24")
table_get: Final = _with_index(b"\x25")
table_set: Final = _with_index(b"\x26")
table_grow: Final = _with_index(b"\xfc\x0f")
table_size: Final = _with_index(b"\xfc\x10")
table_fill: Final = _with_index(b"\xfc\x11")
memory_fill: Final = _with_index(b"\xfc\x0b")
data_drop: Final = _with_index(b"\xfc\x09")
elem_drop: Final = _with_index(b"\xfc\x0d")
call: Final = _with_index(b"\x10")
throw: Final = _with_index(b"\x08")
br: Final = _with_index(b"\x0c")
br_if: Final = _with_index(b"\x0d")
struct_new: Final = _with_index(b"\xfb\x00")
array_new: Final = _with_index(b"\xfb\x06")
array_new_default: Final = _with_index(b"\xfb\x07")
array_get: Final = _with_index(b"\xfb\x0b")
array_get_s: Final = _with_index(b"\xfb\x0c")
array_get_u: Final = _with_index(b"\xfb\x0d")
array_set: Final = _with_index(b"\xfb\x0e")
array_fill: Final = _with_index(b"\xfb\x10")

table_init: Final = _with_indices(b"\xfc\x0c")  # elemidx, tableidx
memory_init: Final = _with_indices(b"\xfc\x08")  # dataidx, memidx
struct_get: Final = _with_indices(b"\xfb\x02")  # typeidx, fieldidx
struct_get_u: Final = _with_indices(b"\xfb\x04")  # typeidx, fieldidx
struct_set: Final = _with_indices(b"\xfb\x05")  # typeidx, fieldidx
array_new_fixed: Final = _with_indices(b"\xfb\x08")  # typeidx, length
array_new_data: Final = _with_indices(b"\xfb\x09")  # typeidx, dataidx
array_new_elem: Final = _with_indices(b"\xfb\x0a")  # typeidx, elemidx
array_init_data: Final = _with_indices(b"\xfb\x12")  # typeidx, dataidx
array_init_elem: Final = _with_indices(b"\xfb\x13")  # typeidx, elemidx


_I32_LOADS: Final = {1: b"\x2d\x00", 2: b"\x2f\x01", 4: b"\x28\x02"}  # with the alignment of the type


def i32_load(width: int, offset: int) -> bytes:
    """Encode the load of 1, 2 or 4 bytes, unsigned, as an i32; its address is on the stack."""
    return _I32_LOADS[width] + encode_unsigned(offset)


def i32_store(offset: int) -> bytes:
    """Encode ``i32.store``."""
    return b"\x36\x02" + encode_unsigned(offset)


def br_table(labels: Sequence[int], default: int) -> bytes:
    """Encode ``br_table``."""
    return op(b"\x0e", len(labels), *labels, default)


def ref_test(heap: str | int) -> bytes:
    """Encode ``ref.test (ref heap)``."""
    return b"\xfb\x14" + encode_heaptype(heap)


def ref_cast(heap: str | int, *, nullable: bool = False) -> bytes:
    """Encode ``ref.cast (ref heap)`` or ``ref.cast (ref null heap)``."""
    return (b"\xfb\x17" if nullable else b"\xfb\x16") + encode_heaptype(heap)


def encode_body(code: bytes, locals_: Sequence[ValType] = ()) -> bytes:
    """Encode an entry of the code section, ``code`` given without its ``end``."""
    declared = encode_vector([b"\x01" + encode_valtype(valtype) for valtype in locals_])
    return encode_bytes(declared + code + END)
