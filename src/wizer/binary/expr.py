"""Constant expressions: the only code that is decoded.

https://webassembly.github.io/spec/core/valid/instructions.html#constant-expressions
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wizer.binary.leb128 import encode_i32, encode_i64, encode_unsigned
from wizer.binary.reader import Reader
from wizer.binary.types import HeapType, StructType, SubType, ValType, encode_heaptype, read_heaptype
from wizer.errors import LimitError
from wizer.records import record

END: Final = b"\x0b"


@record
class Expr:
    """A constant expression.

    Attributes:
        code: its bytes, the final ``end`` included.
        funcs: the functions that it refers to by ``ref.func``.
        value: what it is when it is a single constant: ``("i32", bits)``, ``("i64", bits)``,
            ``("func", funcidx)``, ``("null", None)``, ``("global", globalidx)``; otherwise None.
    """

    code: bytes
    funcs: tuple[int, ...] = ()
    value: tuple[str, int | None] | None = None

    @property
    def integer(self) -> int | None:
        """The integer, taken as unsigned, where it is a single ``i32.const`` or ``i64.const``."""
        return self.value[1] if self.value is not None and self.value[0] in ("i32", "i64") else None


def _skip(reader: Reader, opcode: int) -> tuple[str, int | None] | None:
    """Pass over the immediates of ``opcode``; return its value where `Expr` names one."""
    match opcode:
        case 0x41:
            return "i32", reader.s32() & 0xFFFF_FFFF
        case 0x42:
            return "i64", reader.s64() & 0xFFFF_FFFF_FFFF_FFFF
        case 0x43:
            reader.skip(4)
        case 0x44:
            reader.skip(8)
        case 0x23:
            return "global", reader.u32()
        case 0xD0:
            read_heaptype(reader)
            return "null", None
        case 0xD2:
            return "func", reader.u32()
        case 0x6A | 0x6B | 0x6C | 0x7C | 0x7D | 0x7E:  # add, sub, mul of i32 and i64
            pass
        case 0xFB:
            _skip_gc(reader)
        case 0xFD:
            start = reader.pos
            if reader.u32() != 12:
                raise reader.fail("constant expression required", start)
            reader.skip(16)
        case _:
            raise reader.fail(f"constant expression required, found opcode {opcode:#04x}", reader.pos - 1)
    return None


def _skip_gc(reader: Reader) -> None:
    start = reader.pos
    match reader.u32():
        case 0 | 1 | 6 | 7:  # struct.new, struct.new_default, array.new, array.new_default
            reader.u32()
        case 8:  # array.new_fixed
            reader.u32()
            reader.u32()
        case 0x1A | 0x1B | 0x1C:  # any.convert_extern, extern.convert_any, ref.i31
            pass
        case _:
            raise reader.fail("constant expression required", start)


def read_expr(reader: Reader) -> Expr:
    """Read a constant expression up to its ``end``."""
    start = reader.pos
    funcs: list[int] = []
    value: tuple[str, int | None] | None = None
    count = 0
    while (opcode := reader.byte()) != 0x0B:
        value = _skip(reader, opcode)
        count += 1
        if value is not None and value[0] == "func":
            assert value[1] is not None
            funcs.append(value[1])
    code = reader.wasm[start : reader.pos]
    return Expr(code, tuple(funcs), value if count == 1 else None)


MAX_OPERANDS: Final = 50_000
"""How many operands a constant expression may have at once.

The engine compiles them, and keeps each operand on the stack of the thread, without looking how much is left.
"""


def check_operands(expr: Expr, types: Sequence[SubType], where: str) -> None:
    """Check how many operands an expression has at once, before the engine meets it.

    Raises:
        LimitError: there are more than `MAX_OPERANDS`.
    """
    if len(expr.code) <= MAX_OPERANDS:  # an operand takes a byte at least
        return
    reader, operands = Reader(expr.code), 0
    while (opcode := reader.byte()) != 0x0B:
        start = reader.pos
        _skip(reader, opcode)
        operands += 1 - _operands_taken(opcode, Reader(expr.code, start), types)
        if operands > MAX_OPERANDS:
            raise LimitError(
                f"the constant expression of {where} has more than {MAX_OPERANDS} operands at once, which is "
                "more than the stack may hold"
            )


def _operands_taken(opcode: int, immediates: Reader, types: Sequence[SubType]) -> int:
    """Return how many operands an instruction takes."""
    if opcode != 0xFB:
        return 2 if opcode in (0x6A, 0x6B, 0x6C, 0x7C, 0x7D, 0x7E) else 0
    match immediates.u32():
        case 0:  # struct.new
            index = immediates.u32()
            comp = types[index].comp if index < len(types) else None
            return len(comp.fields) if isinstance(comp, StructType) else 0
        case 6:  # array.new
            return 2
        case 8:  # array.new_fixed
            immediates.u32()
            return immediates.u32()
        case 1:  # struct.new_default
            return 0
    return 1


def encode_const(valtype: str, bits: int) -> bytes:
    """Encode ``T.const`` of a number or vector given by its bits, without ``end``."""
    match valtype:
        case "i32":
            return b"\x41" + encode_i32(bits)
        case "i64":
            return b"\x42" + encode_i64(bits)
        case "f32":
            return b"\x43" + bits.to_bytes(4, "little")
        case "f64":
            return b"\x44" + bits.to_bytes(8, "little")
        case "v128":
            return b"\xfd\x0c" + bits.to_bytes(16, "little")
    raise ValueError(valtype)


def encode_null(heap: HeapType) -> bytes:
    """Encode ``ref.null heap``."""
    return b"\xd0" + encode_heaptype(heap)


def encode_ref_func(funcidx: int) -> bytes:
    """Encode ``ref.func funcidx``."""
    return b"\xd2" + encode_unsigned(funcidx)


def encode_default(valtype: ValType) -> bytes:
    """Encode the default value of ``valtype``: zero, or null."""
    if isinstance(valtype, str):
        return encode_const(valtype, 0)
    return encode_null(valtype.heap)
