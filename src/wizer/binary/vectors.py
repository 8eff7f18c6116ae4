"""Vectors: how many items there are, and the items; strings of bytes and names are vectors of bytes.

https://webassembly.github.io/spec/core/binary/conventions.html#vectors
https://webassembly.github.io/spec/core/binary/values.html#names
"""

from __future__ import annotations

from collections.abc import Sequence

from wizer.binary.leb128 import encode_unsigned


def encode_vector(items: Sequence[bytes]) -> bytes:
    """Encode a vector of encoded items."""
    return encode_unsigned(len(items)) + b"".join(items)


def encode_bytes(data: bytes) -> bytes:
    """Encode a vector of bytes, also what the format precedes by its size: a body, a subsection."""
    return encode_unsigned(len(data)) + data


def encode_name(name: str) -> bytes:
    """Encode a name."""
    return encode_bytes(name.encode("utf-8"))
