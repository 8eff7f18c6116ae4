"""Numbers, sizes and times as people write them: on a command line, in a configuration file, in messages."""

from __future__ import annotations

import re

_DIGITS = "[0-9][0-9_]*"
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "\N{MICRO SIGN}s": 1e-6,
    "\N{GREEK SMALL LETTER MU}s": 1e-6,
    "ms": 1e-3,
    "": 1.0,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
}


def number(text: str) -> int:
    """Read a whole number that is not negative: decimal or ``0x``, with underscores where one likes.

    Raises:
        ValueError: it is something else.
    """
    if not re.fullmatch(rf"0[xX][0-9a-fA-F_]+|{_DIGITS}", text, re.ASCII) or len(text) > 40:
        raise ValueError("expected a whole number")
    return int(text, 16) if text[:2] in ("0x", "0X") else int(text.replace("_", ""))


def size(text: str) -> int:
    """Read a number of bytes: ``65536``, ``64KiB``, ``1G``. All units are powers of 1024.

    Raises:
        ValueError: it is something else.
    """
    digits = text.rstrip("KMGBikmgb") if not text.lower().startswith("0x") else text
    unit = text[len(digits) :].upper()
    if unit not in _BYTES:
        raise ValueError("expected a number of bytes, or one of KiB, MiB, GiB")
    try:
        return number(digits.strip()) * _BYTES[unit]
    except ValueError:
        raise ValueError("expected a number of bytes, or one of KiB, MiB, GiB") from None


def written_size(count: int) -> str:
    """Return a number of bytes for people, rounded: ``64 MiB``, ``62.6 MiB``."""
    of = next((of for of in (1 << 30, 1 << 20) if count >= of), 1 << 10)
    return f"{count / of:.1f}".removesuffix(".0") + f" {_UNITS[of]}"


def exact_size(count: int) -> str:
    """Return a number of bytes as `size` reads it."""
    return next(
        (f"{count // of}{unit}" for of, unit in _UNITS.items() if count and count % of == 0), str(count)
    )


_UNITS = {1 << 30: "GiB", 1 << 20: "MiB", 1 << 10: "KiB"}


def seconds(text: str) -> float:
    """Read a length of time: ``2``, ``1.5s``, ``100ms``, ``1m``, ``1h``.

    Raises:
        ValueError: it is something else.
    """
    match = re.fullmatch(rf"({_DIGITS}(?:\.[0-9]+)?)\s*([^\s0-9]*)", text)
    if not match or match[2] not in _SECONDS:
        raise ValueError("expected a length of time such as 2, 1.5s, 100ms or 1m")
    return float(match[1].replace("_", "")) * _SECONDS[match[2]]
