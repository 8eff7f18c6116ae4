"""What capture reads a live instance through, on the engine's C API."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import wasmtime

from wizer.checks import shown
from wizer.engine import capi, capi_values
from wizer.engine.addresses import address
from wizer.errors import OptionError


class LiveInstance:
    """A live instance of an instrumented module; the `Live` of the capture pass."""

    def __init__(self, store: wasmtime.Store, instance: wasmtime.Instance) -> None:
        self._store = store
        self._instance = instance
        self._accessors: dict[str, capi.RawFunction] = {}

    def check(self, name: str) -> None:
        """Check that it is an instance of the module that exports ``name``, and in this store.

        Raises:
            OptionError: it is not.
        """
        if not isinstance(self._instance, wasmtime.Instance):
            raise OptionError(f"expected an instance of a module, got {shown(self._instance)}")
        if not capi_values.is_in_store(self._store, self._instance._instance):
            raise OptionError("the instance is in another store")
        if self._export(name) is None:
            raise OptionError(
                "the instance is not one of this module: instantiate the `wasm` that `instrument` returned"
            )

    def accessor(self, name: str, slots: int) -> capi.RawFunction:
        """Return the accessor ``name``, which has at most ``slots`` parameters and as many results."""
        found = self._accessors.get(name)
        if found is None:
            function = self._export(name)
            if not isinstance(function, wasmtime.Func):
                raise _not_instrumented(name)
            found = self._accessors[name] = capi.RawFunction(self._store, function, slots)
        return found

    def number(self, name: str) -> int:
        """Return the value of the exported global ``name``, an integer."""
        found = self._export(name)
        if not isinstance(found, wasmtime.Global):
            raise _not_instrumented(name)
        value = capi.global_value(self._store, found)
        assert isinstance(value, int)
        return value

    def traps(self, name: str) -> bool:
        """Call the accessor ``name`` and return whether it trapped."""
        try:
            self.accessor(name, 0)()
        except wasmtime.Trap as trap:
            if trap.trap_code is wasmtime.TrapCode.INTERRUPT:  # that says nothing of the state
                raise
            return True
        return False

    def memory(self, name: str) -> tuple[memoryview, Sequence[tuple[int, int]] | None]:
        """Return a view on a live memory, and where it may be other than zero."""
        memory = self._export(name)
        if not isinstance(memory, wasmtime.Memory | wasmtime.SharedMemory):
            raise _not_instrumented(name)
        view = capi.memory_view(self._store, memory)
        if not view:
            return view, ()
        if len(view) <= _SMALL:
            return view, None
        from wizer.engine.touched import touched_ranges

        return view, touched_ranges(address(view), len(view))

    def identities(self, addresses: Iterable[int]) -> list[tuple[int, int]]:
        """Return, for each funcref, what it has in common with others to the same function."""
        return capi.function_identities(addresses)

    def _export(self, name: str) -> capi.Extern | None:
        return capi.export_of(self._store, self._instance, name)


_SMALL: Final = 1 << 17  # bytes: they are looked through in the time that the system takes to answer


def _not_instrumented(name: str) -> OptionError:
    return OptionError(
        f"the instance has no `{name}` export: instantiate the `wasm` that `instrument` returned"
    )
