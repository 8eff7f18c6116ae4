"""WAVE, the text format for component values: ``{name: "x", tags: some(["a"])}``.

https://github.com/bytecodealliance/wasm-tools/tree/main/crates/wasm-wave

Reading is directed by the type, so that ``{a}`` is a set of flags or an error, and never a guess. Integers
may also be hexadecimal.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, TypeVar

from wizer.engine import component_types as cv
from wizer.engine.component_types import FunctionType, ValueType
from wizer.errors import OptionError

T = TypeVar("T")

MAX_DEPTH: Final = 100
KEYWORDS: Final = frozenset({"true", "false", "inf", "nan", "some", "none", "ok", "err"})

_TOKEN: Final = re.compile(
    r"""(?P<space>(?:\s|//[^\n]*)+)
    |(?P<number>-?(?:0x[0-9a-fA-F]+|(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|inf(?![\w-])))
    |(?P<label>%?[a-zA-Z][a-zA-Z0-9]*(?:-[a-zA-Z0-9]+)*)
    |(?P<block>\"\"\".*?(?<!\\)\"\"\")
    |(?P<string>"(?:[^"\\\n]|\\.)*")
    |(?P<char>'(?:[^'\\\n]|\\u\{[0-9a-fA-F]{1,6}\}|\\.)')
    |(?P<symbol>[(){}\[\]:,])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|(.))", re.DOTALL)
_ESCAPES: Final = {"\\": "\\", "'": "'", '"': '"', "t": "\t", "n": "\n", "r": "\r"}


def split_call(text: str) -> tuple[str, str | None]:
    """Split ``name(arguments)`` into the name and the text of the arguments, None where it is only a name."""
    name, parenthesis, rest = text.strip().partition("(")
    if not parenthesis:
        return name, None
    if not rest.endswith(")") or not name.strip():
        raise OptionError(f"`{text}` is not a call: write `name(argument, …)`")
    return name.strip(), rest[:-1]


def parse_args(text: str, functype: FunctionType, call: str) -> list[Any]:
    """Read the arguments of a call; options at the end may be left out.

    Raises:
        OptionError: they do not fit the function's type; the message says where.
    """
    parser = _Parser(text, call)
    values: list[Any] = []
    for name, valtype in functype.params:
        if parser.at_end():
            if not (isinstance(valtype, cv.Variant) and valtype.kind == "option"):
                raise parser.fail(f"the argument `{name}` is missing")
            values.append(_variant(valtype, "none", None))
            continue
        values.append(parser.value(valtype))
        if not parser.at_end():
            parser.expect(",")
    if not parser.at_end():
        raise parser.fail(f"the function takes {len(functype.params)} argument(s), there are more")
    return values


def parse_value(text: str, valtype: ValueType) -> Any:
    """Read one value; raise `OptionError` where it is not of the type."""
    parser = _Parser(text, text)
    value = parser.value(valtype)
    if not parser.at_end():
        raise parser.fail("there is more after the value")
    return value


class _Parser:
    """Reads values from ``text``, a part of ``whole``, which messages show."""

    def __init__(self, text: str, whole: str) -> None:
        self._whole = whole
        self._tokens: list[tuple[str, str]] = []
        self._next = 0
        self._depth = 0
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None or match.lastgroup is None:
                raise OptionError(f"`{whole}`: cannot read `{text[position : position + 20]}`")
            if match.lastgroup != "space":
                self._tokens.append((match.lastgroup, match.group()))
            position = match.end()

    def fail(self, message: str) -> OptionError:
        """Return the error to raise."""
        return OptionError(f"`{self._whole}`: {message}")

    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self._next >= len(self._tokens)

    def _peek(self, ahead: int = 0) -> str:
        position = self._next + ahead
        return self._tokens[position][1] if position < len(self._tokens) else ""

    def _take(self, kind: str, what: str) -> str:
        if self.at_end() or self._tokens[self._next][0] != kind:
            raise self.fail(f"expected {what}, found `{self._peek() or 'the end'}`")
        self._next += 1
        return self._tokens[self._next - 1][1]

    def expect(self, symbol: str) -> None:
        """Pass over a symbol."""
        if self._peek() != symbol:
            raise self.fail(f"expected `{symbol}`, found `{self._peek() or 'the end'}`")
        self._next += 1

    def _accept(self, symbol: str) -> bool:
        found = self._peek() == symbol
        self._next += found
        return found

    def value(self, valtype: ValueType) -> Any:
        """Read a value of a type."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self.fail(f"values are nested more than {MAX_DEPTH} deep")
        try:
            return self._value(valtype)
        finally:
            self._depth -= 1

    def _value(self, valtype: ValueType) -> Any:
        match valtype:
            case cv.Primitive(name):
                return self._primitive(name)
            case cv.ListOf(element):
                self.expect("[")
                values = self._separated("]", lambda: self.value(element))
                return bytes(values) if element == cv.Primitive("u8") else values
            case cv.Tuple(elements):
                return self._tuple(elements)
            case cv.Record(fields):
                return self._record(dict(fields))
            case cv.Variant():
                return self._variant(valtype)
            case cv.Enum(names):
                return self._one_of(names)
            case cv.Flags(names):
                self.expect("{")
                return set(self._separated("}", lambda: self._one_of(names)))
        raise self.fail(f"a value of type {valtype.name} cannot be written as text")

    def _separated(self, end: str, item: Callable[[], T]) -> list[T]:
        """Read items up to ``end``; a comma may stand after the last one."""
        items: list[T] = []
        while not self._accept(end):
            items.append(item())
            if not self._accept(","):
                self.expect(end)
                break
        return items

    def _primitive(self, name: str) -> Any:
        if name == "bool":
            return self._one_of(("true", "false")) == "true"
        if name in ("f32", "f64"):
            return self._float(name)
        if name == "char":
            return _unescape(self._take("char", "a character such as 'x'")[1:-1], self.fail)
        if name == "string":
            if not self.at_end() and self._tokens[self._next][0] == "block":
                return self._block()
            return _unescape(self._take("string", "a string")[1:-1], self.fail)
        return self._integer(name)

    def _integer(self, name: str) -> int:
        text = self._take("number", f"an integer ({name})")
        try:
            value = int(text, 16 if "0x" in text else 10)
        except ValueError:
            raise self.fail(f"expected an integer ({name}), found `{text}`") from None
        bits = int(name[1:])
        low, high = (0, 1 << bits) if name[0] == "u" else (-(1 << bits - 1), 1 << bits - 1)
        if not low <= value < high:
            raise self.fail(f"`{text}` does not fit {name}")
        return value

    def _float(self, name: str) -> float:
        if self._peek() in ("nan", "inf"):
            self._next += 1
            return float(self._tokens[self._next - 1][1])
        text = self._take("number", f"a number ({name})")
        value = float(int(text, 16)) if "0x" in text else float(text)
        try:
            struct.pack("<f" if name == "f32" else "<d", value)
        except OverflowError:
            value = math.inf
        if math.isinf(value) and "inf" not in text:
            raise self.fail(f"`{text}` is out of the range of {name}")
        return value

    def _block(self) -> str:
        """Read a string of several lines, indented as the line of its closing quotes is."""
        lines = self._take("block", "a string")[3:-3].replace("\r\n", "\n").split("\n")
        indent = lines[-1]
        if len(lines) < 2 or lines[0] or indent.strip(" "):
            raise self.fail('""" stands at the end of a line and on a line of its own')
        if not all(line.startswith(indent) for line in lines[1:-1]):
            raise self.fail('lines are indented at least as far as the closing """')
        return _unescape("\n".join(line[len(indent) :] for line in lines[1:-1]), self.fail)

    def _tuple(self, elements: Sequence[ValueType]) -> tuple[Any, ...]:
        self.expect("(")
        left = iter(elements)

        def element() -> Any:
            valtype = next(left, None)
            if valtype is None:
                raise self.fail(f"a tuple has {len(elements)} elements, not more")
            return self.value(valtype)

        values = self._separated(")", element)
        if len(values) != len(elements):
            raise self.fail(f"a tuple has {len(elements)} elements, not {len(values)}")
        return tuple(values)

    def _record(self, fields: Mapping[str, ValueType]) -> cv.RecordValue:
        self.expect("{")
        found: dict[str, Any] = {}

        def field() -> None:
            name = self._one_of(tuple(fields))
            if name in found:
                raise self.fail(f"the field `{name}` is there twice")
            self.expect(":")
            found[name] = self.value(fields[name])

        if self._peek() == ":":
            self.expect(":")
            self.expect("}")
        else:
            self._separated("}", field)
        for name, valtype in fields.items():
            if name not in found:
                if not (isinstance(valtype, cv.Variant) and valtype.kind == "option"):
                    raise self.fail(f"the field `{name}` is missing")
                found[name] = _variant(valtype, "none", None)
        return cv.make_record(found)

    def _one_of(self, names: Sequence[str]) -> str:
        label = self._take("label", _choice(names)).removeprefix("%")
        if label not in names:
            raise self.fail(f"expected {_choice(names)}, found `{label}`")
        return label

    def _variant(self, valtype: cv.Variant) -> Any:
        cases = dict(valtype.cases)
        label = self._peek()
        plain = valtype.kind != "variant"  # whose cases are keywords, and may go without saying
        if plain and (label not in cases or (label == "some" and self._peek(1) != "(")):
            case = "some" if valtype.kind == "option" else "ok"
            payload = cases[case]
            if payload is None or (isinstance(payload, cv.Variant) and payload.kind != "variant"):
                raise self.fail(f"expected {_choice(tuple(cases))}, found `{label or 'the end'}`")
            return _variant(valtype, case, self.value(payload))
        case = self._one_of(tuple(cases))
        payload = cases[case]
        if payload == cv.Primitive("bool") and not valtype.tagged and _has_integer(valtype):
            raise self.fail("the engine's package takes a bool for an integer here")
        if payload is None:
            return _variant(valtype, case, None)
        self.expect("(")
        value = self.value(payload)
        self._accept(",")
        self.expect(")")
        return _variant(valtype, case, value)


def _has_integer(valtype: cv.Variant) -> bool:
    return any(isinstance(case, cv.Primitive) and case.name[1:].isdigit() for _, case in valtype.cases)


def _choice(names: Sequence[str]) -> str:
    return "one of " + ", ".join(f"`{name}`" for name in names) if names else "nothing"


def _variant(valtype: cv.Variant, case: str, payload: Any) -> Any:
    return cv.VariantValue(case, payload) if valtype.tagged else payload


def _unescape(text: str, fail: Callable[[str], OptionError]) -> str:
    def replace(match: re.Match[str]) -> str:
        if match[1] is not None:
            code = int(match[1], 16)
            if code > 0x10FFFF or 0xD800 <= code < 0xE000:
                raise fail(f"`{match[0]}` is no character")
            return chr(code)
        if match[2] not in _ESCAPES:
            raise fail(f"unknown escape `{match[0]}`")
        return _ESCAPES[match[2]]

    return _ESCAPE.sub(replace, text)


def format_value(value: Any, valtype: ValueType) -> str:
    """Write a value as text."""
    match valtype:
        case cv.Primitive(name):
            return _format_primitive(value, name)
        case cv.ListOf(element):
            return "[" + ", ".join(format_value(item, element) for item in value) + "]"
        case cv.Tuple(elements):
            items = zip(value, elements, strict=True)
            return "(" + ", ".join(format_value(item, element) for item, element in items) + ")"
        case cv.Record(fields):
            return _format_record(value, fields)
        case cv.Variant():
            case, payload = _case_of(value, valtype)
            inner = dict(valtype.cases)[case]
            label = f"%{case}" if valtype.kind == "variant" and case in KEYWORDS else case
            return label if inner is None else f"{label}({format_value(payload, inner)})"
        case cv.Enum():
            return f"%{value}" if value in KEYWORDS else str(value)
        case cv.Flags(names):
            return "{" + ", ".join(name for name in names if name in value) + "}"
    return f"<{valtype.name}>"


def _format_primitive(value: Any, name: str) -> str:
    if name == "bool":
        return "true" if value else "false"
    if name in ("f32", "f64"):
        return _format_float(value, name)
    if name == "char":
        return "'" + _escape(value) + "'"
    if name == "string":
        return '"' + _escape(value) + '"'
    return str(value)


def _escape(text: str) -> str:
    escapes = {char: f"\\{letter}" for letter, char in _ESCAPES.items()}
    return "".join(
        escapes.get(char) or (char if char.isprintable() else f"\\u{{{ord(char):x}}}") for char in text
    )


def _format_float(value: float, name: str) -> str:
    """Write the shortest digits that say which float it is, without an exponent."""
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    digits = repr(value) if name == "f64" else _shortest_f32(value)
    text = format(Decimal(digits), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _shortest_f32(value: float) -> str:
    """Return the shortest decimal that is nearest to a single-precision float."""
    packed = struct.pack("<f", value)
    return next(
        text
        for text in (f"{value:.{precision}e}" for precision in range(9))
        if _packs_to(float(text), packed)
    )


def _packs_to(value: float, packed: bytes) -> bool:
    try:
        return struct.pack("<f", value) == packed
    except OverflowError:
        return False


def _format_record(value: Any, fields: Sequence[tuple[str, ValueType]]) -> str:
    parts = []
    for name, valtype in fields:
        field = getattr(value, name)
        if (
            isinstance(valtype, cv.Variant)
            and valtype.kind == "option"
            and _case_of(field, valtype)[0] == "none"
        ):
            continue
        parts.append(f"{name}: {format_value(field, valtype)}")
    return "{" + (", ".join(parts) or ":") + "}"


def _case_of(value: Any, valtype: cv.Variant) -> tuple[str, Any]:
    """Return the case of a variant's value, and its payload."""
    if valtype.tagged:
        return value.tag, value.payload
    case = next(case for case, payload in valtype.cases if _is_of(value, payload))
    return case, value


_CLASSES: Final[Mapping[str, type]] = {"bool": bool, "f32": float, "f64": float, "char": str, "string": str}


def _is_of(value: Any, valtype: ValueType | None) -> bool:
    """Whether a Python value is of a type, as far as the cases of an untagged variant can be confused."""
    match valtype:
        case None:
            return value is None
        case cv.Primitive(name):
            return type(value) is _CLASSES.get(name, int)
        case cv.ListOf(element):
            return isinstance(value, bytes if element == cv.Primitive("u8") else list)
        case cv.Tuple():
            return isinstance(value, tuple)
        case cv.Record():
            return isinstance(value, cv.RecordValue)
        case cv.Enum():
            return isinstance(value, str)
        case cv.Flags():
            return isinstance(value, set)
        case cv.Variant():
            if valtype.tagged:
                return isinstance(value, cv.VariantValue)
            return any(_is_of(value, payload) for _, payload in valtype.cases)
    return True
