"""The input: bytes, text, or a file, in the binary or the text format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, TypeAlias

from wizer.binary.sections import MAGIC
from wizer.checks import instance_kind, is_unicode, refuse
from wizer.errors import InputError, InvalidError

Wasm: TypeAlias = "bytes | bytearray | memoryview | str | os.PathLike[str]"

WASM: Final = instance_kind(
    "bytes, a string in the text format or the path of a file", bytes, bytearray, memoryview, str, os.PathLike
)


def to_binary(wasm: Wasm) -> bytes:
    """Return a module or component in the binary format.

    Args:
        wasm: bytes in the binary or the text format, a string in the text format, or the path of a file.

    Raises:
        OptionError: it is none of these.
        InputError: the file cannot be read.
        InvalidError: the text is malformed; the message shows where.
    """
    if not WASM.holds(wasm):
        refuse("wasm", wasm, WASM.expected)
    if isinstance(wasm, os.PathLike):
        wasm = read_file(wasm)
    if isinstance(wasm, bytearray | memoryview):
        wasm = bytes(wasm)
    if isinstance(wasm, bytes) and (wasm[:4] == MAGIC or not _is_text(wasm)):
        return wasm
    if isinstance(wasm, str) and not is_unicode(wasm):
        raise InvalidError("the text is not Unicode: it has half a character")
    import wasmtime

    from wizer.engine.stack import with_compiler_stack

    try:
        return bytes(with_compiler_stack(lambda: wasmtime.wat2wasm(wasm)))
    except wasmtime.WasmtimeError as error:
        if isinstance(wasm, str) and wasm.endswith((".wasm", ".wat")):
            raise InvalidError(
                f"{wasm!r} is read as the text format; for a file of that name give `pathlib.Path({wasm!r})`"
            ) from None
        raise InvalidError(str(error)) from None


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Return what a file holds.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # a NUL is no part of a path
        cause = getattr(error, "strerror", None) or str(error)
        raise InputError(f"failed to read `{os.fspath(path)}`", [cause]) from None


def _is_text(wasm: bytes) -> bool:
    """Whether bytes look like the text format: UTF-8 without the control characters of a binary."""
    try:
        start = wasm[:4096].decode("utf-8", errors="strict" if len(wasm) <= 4096 else "ignore")
    except UnicodeDecodeError:
        return False
    return bool(start.strip()) and "\0" not in start
