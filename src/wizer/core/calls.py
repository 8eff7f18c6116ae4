"""Function calls written as text: ``qjs_init()``, ``setup(3, 0x10)``, ``scale(-1.5, nan:0x400000)``.

A call is an export's name, or a name followed by its arguments in parentheses. Arguments are split first
(`parse_call`) and typed later (`convert_args`), against the function's WebAssembly type, because only that
type says whether ``3`` is an ``i32`` or an ``f64``.

Literals are those of the text format: https://webassembly.github.io/spec/core/text/values.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal

from wizer.binary.values import Number
from wizer.checks import refuse
from wizer.errors import LimitError, OptionError, TrapError
from wizer.records import record


@record
class Call:
    """A function to call.

    Attributes:
        name: the export's name.
        arguments: one literal each, as written, without the blanks around it.
    """

    name: str
    arguments: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}({', '.join(self.arguments)})" if self.arguments else self.name


def parse_call(text: str) -> Call:
    """Split ``name`` or ``name(argument, …)``.

    Text that does not end in ``)`` is a name as a whole, whatever it contains: export names are arbitrary
    strings. Commas inside quotes and brackets do not separate arguments.

    Raises:
        OptionError: the name or an argument is missing, or a quote or a bracket is left open.
    """
    if not isinstance(text, str):
        refuse("text", text, "a function's name, or a call")
    name, parenthesis, rest = text.strip().partition("(")
    if not parenthesis or not rest.endswith(")"):
        return Call(text)
    if not name.strip():
        raise OptionError(f"the call `{text}` has no function name before its `(`")
    return Call(name.strip(), _split_arguments(rest[:-1], text))


# a string, a character (both of a component's calls), or what may separate arguments
_TOKEN = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:\\u\{[0-9a-fA-F]+\}|\\.|[^'\\])'|[()\[\]{},"]""", re.S)


def _split_arguments(body: str, text: str) -> tuple[str, ...]:
    """Split what stands between the outer parentheses of the call ``text``."""
    if not body.strip():
        return ()
    closers = {"(": ")", "[": "]", "{": "}"}
    arguments, start, open_brackets = [], 0, list[str]()
    for token in _TOKEN.finditer(body):
        symbol = token.group()
        if symbol in closers:
            open_brackets.append(closers[symbol])
        elif symbol == '"':
            raise OptionError(f'the call `{text}` has a `"` that is not closed')
        elif symbol in closers.values():
            if not open_brackets or open_brackets.pop() != symbol:
                raise OptionError(f"the call `{text}` has a `{symbol}` that closes nothing")
        elif symbol == "," and not open_brackets:
            arguments.append(body[start : token.start()].strip())
            start = token.end()
    if open_brackets:
        raise OptionError(f"the call `{text}` lacks a `{open_brackets[-1]}`")
    arguments.append(body[start:].strip())
    if "" in arguments:
        raise OptionError(f"argument {arguments.index('') + 1} of the call `{text}` is missing")
    return tuple(arguments)


def convert_args(call: Call, params: Sequence[str]) -> list[int | float | bytes | Number]:
    """Turn the arguments of ``call`` into values of the types ``params``.

    Args:
        call: the call, as `parse_call` returns it.
        params: the function's parameter types by their names in the specification.

    Returns:
        One value per parameter: ``i32`` and ``i64`` as signed integers, ``f32`` and ``f64`` as floats that
        the type can hold exactly (`Number` for a NaN with a payload), ``v128`` as 16 bytes, the lowest
        lane first.

    Raises:
        OptionError: the number of arguments is wrong, or one is no literal of its parameter's type.
    """
    if len(call.arguments) != len(params):
        raise OptionError(_wrong_number(call, params))
    return [
        _convert(argument, type_, f"argument {i} of `{call}`")
        for i, (argument, type_) in enumerate(zip(call.arguments, params, strict=True), start=1)
    ]


def _wrong_number(call: Call, params: Sequence[str]) -> str:
    """Say how to call the function; without arguments, the message starts as the peers' does."""
    form = f"`{call.name}({', '.join(f'<{p}>' for p in params)})`"
    if not call.arguments:
        kind = f"the Wasm module's `{call.name}` function export does not have type `[] -> []`"
        return f"{kind}: it takes {len(params)} argument(s); write the call as {form}"
    return f"`{call}` gives {len(call.arguments)} argument(s), but the function takes {len(params)}: {form}"


def _convert(literal: str, type_: str, place: str) -> int | float | bytes | Number:
    """Turn one literal into a value of ``type_``; ``place`` says which argument it is."""
    if len(literal) > _LONGEST:
        raise OptionError(f"{place} has {len(literal)} characters, which is more than any number needs")
    if type_ in ("i32", "i64"):
        return _integer(literal, int(type_[1:]), place)
    if type_ in ("f32", "f64"):
        return _float(literal, "f32" if type_ == "f32" else "f64", place)
    if type_ == "v128":
        return _vector(literal, place)
    raise OptionError(f"{place} would have type {type_}, which has no literals: only numbers can be given")


_LONGEST = 2000  # the exact decimal expansion of the smallest f64 has 1,077 digits
_INTEGER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+(?:_[0-9a-fA-F]+)*|[0-9]+(?:_[0-9]+)*)")


def _integer(literal: str, width: int, place: str) -> int:
    """Read a signed integer of ``width`` bits from any literal that fits it as signed or unsigned."""
    if not _INTEGER.fullmatch(literal):
        raise OptionError(f"{place} is `{literal}`, which is no integer literal (i{width})")
    digits = literal.lstrip("+-").lower()
    magnitude = int(digits, 16) if digits.startswith("0x") else int(digits)
    value = -magnitude if literal.startswith("-") else magnitude
    if not -(1 << (width - 1)) <= value < 1 << width:
        raise OptionError(f"{place} is `{literal}`, which does not fit i{width}")
    return value - (1 << width) if value >= 1 << (width - 1) else value


_DECIMAL = re.compile(
    r"[+-]?(?:\d+(?:_\d+)*\.?(?:\d+(?:_\d+)*)?|\.\d+(?:_\d+)*)(?:[eE][+-]?\d+(?:_\d+)*)?", re.A
)
_HEX = r"[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*"
_HEXADECIMAL = re.compile(rf"[+-]?0[xX]{_HEX}\.?(?:{_HEX})?(?:[pP][+-]?\d+(?:_\d+)*)?", re.A)
_PAYLOAD = re.compile(rf"([+-]?)nan:0[xX]({_HEX})")
_MANTISSA = {"f32": 23, "f64": 52}


def _float(literal: str, type_: Literal["f32", "f64"], place: str) -> float | Number:
    """Read the float of ``type_`` that is nearest to the literal, ties to even."""
    if payload := _PAYLOAD.fullmatch(literal):
        return _nan(payload[1] == "-", int(payload[2], 16), type_, place)
    if literal.lstrip("+-") in ("inf", "nan") and len(literal) <= 4:
        return float(literal)
    plain = literal.replace("_", "")
    try:
        if _HEXADECIMAL.fullmatch(literal):
            double = float.fromhex(plain)
        elif _DECIMAL.fullmatch(literal):
            double = float(plain)
        else:
            raise OptionError(f"{place} is `{literal}`, which is no float literal ({type_})")
        value = double if type_ == "f64" or double == 0 else _nearest_f32(plain)
    except OverflowError:
        value = math.inf
    if abs(value) == math.inf:
        raise OptionError(f"{place} is `{literal}`, which is out of the range of {type_}")
    return value


def _nearest_f32(plain: str) -> float:
    """Round a finite, non-zero literal to single precision once, not first to double precision."""
    from fractions import Fraction

    if "x" in plain.lower():
        digits, _, exponent = plain.lower().partition("p")
        whole, _, fraction = digits.partition(".")
        exact = Fraction(int(whole + fraction, 16)) * Fraction(2) ** (int(exponent or 0) - 4 * len(fraction))
    else:
        exact = Fraction(plain)
    exponent_of_2 = abs(exact.numerator).bit_length() - exact.denominator.bit_length()
    if abs(exact) < Fraction(2) ** exponent_of_2:
        exponent_of_2 -= 1
    quantum = Fraction(2) ** (max(exponent_of_2, -126) - 23)
    value = math.copysign(float(round(exact / quantum) * quantum), exact)
    return value if abs(value) < 2.0**128 else math.inf


def _nan(negative: bool, payload: int, type_: Literal["f32", "f64"], place: str) -> Number:
    """Build a NaN from the bits of its mantissa."""
    width = _MANTISSA[type_]
    if not 0 < payload < 1 << width:
        raise OptionError(
            f"{place} has the NaN payload {payload:#x}; {type_} takes 0x1 to {(1 << width) - 1:#x}"
        )
    exponent = 0xFF << width if type_ == "f32" else 0x7FF << width
    sign = negative << (31 if type_ == "f32" else 63)
    return Number(type_, sign | exponent | payload)


_VECTOR = re.compile(r"(i8x16|i16x8|i32x4|i64x2|f32x4|f64x2)\s*\((.*)\)", re.S)


def _vector(literal: str, place: str) -> bytes:
    """Read a vector, written as one integer of 128 bits or by lanes: ``i32x4(1, 2, 3, 4)``."""
    import struct

    shape = _VECTOR.fullmatch(literal)
    if not shape:
        return (_integer(literal, 128, place) % (1 << 128)).to_bytes(16, "little")
    lanes = [lane.strip() for lane in shape[2].split(",")]
    type_, count = shape[1].split("x")
    if len(lanes) != int(count):
        raise OptionError(f"{place} is `{literal}`: {shape[1]} has {count} lanes, not {len(lanes)}")
    if type_[0] == "i":
        width = 128 // int(count)
        values = [_integer(lane, width, place) % (1 << width) for lane in lanes]
        return b"".join(value.to_bytes(width // 8, "little") for value in values)
    floats = [_float(lane, "f32" if type_ == "f32" else "f64", place) for lane in lanes]
    size, code = (4, "<f") if type_ == "f32" else (8, "<d")
    return b"".join(
        f.bits.to_bytes(size, "little") if isinstance(f, Number) else struct.pack(code, f) for f in floats
    )


MOST_RESULTS: Final = 1_000
"""How many calls a session remembers."""


def remember(results: list[tuple[str, tuple[Any, ...]]], name: str, values: tuple[Any, ...]) -> None:
    """Note a call and its results; the oldest is forgotten where there are many."""
    if len(results) >= MOST_RESULTS:
        del results[0]
    results.append((name, values))


@contextmanager
def explained(refused: Callable[[], Sequence[str]]) -> Iterator[None]:
    """Run a guest in here: a trap is given what ``refused`` returns for more of its causes."""
    try:
        yield
    except TrapError as error:
        if not isinstance(error, LimitError):
            error.causes = (*error.causes, *refused())
        raise
