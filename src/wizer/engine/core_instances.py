"""Finding the live core instances inside a component.

The C API shows a component's exports and nothing of the core instances behind them, but these live in the
store next to all others, and a handle to an instance is the store's number and the instance's place in it
(`wasmtime_instance_t`). So handles are made here: for places that exist, which the handle of a new memory
bounds, and for instances that prove by an export which they are. From there on an inner instance is like any
other: its memory is a view, its accessors are functions. ``tests/engine/test_component.py`` fails clearly if
an upgrade changes the layout.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence

import wasmtime
import wasmtime.component as wc
from wasmtime import _ffi as ffi

from wizer.checks import shown
from wizer.engine import capi, capi_values
from wizer.engine.component import call_component, find_function
from wizer.engine.messages import causes
from wizer.engine.reader import LiveInstance
from wizer.errors import OptionError, StateError, WizerError


class LiveCoreInstance(LiveInstance):
    """A live core instance inside a component; the `Live` of the capture pass."""

    def traps(self, name: str) -> bool:
        """Return whether the accessor ``name``, a probe of a segment, would trap; it is not called.

        A trap would close the component. The module itself notes what it drops, and has nothing to note it
        in where it drops nothing.
        """
        return bool(_integer(self._store, self._instance, name.removesuffix(".probe") + ".dropped"))


def live_core_instances(
    store: wasmtime.Store,
    instance: wc.Instance,
    *,
    mark: str,
    mark_global: str,
    expected: Sequence[tuple[str, int]],
) -> list[LiveCoreInstance]:
    """Return the core instances inside an instance of an instrumented component.

    Args:
        store: the store of the instance.
        instance: the instance.
        mark: the exported function that changes one of its core instances: the last one that was made.
        mark_global: the global that it changes.
        expected: for each in the order of instantiation, the global that says of which module it is, and what
            it says.

    Raises:
        OptionError: the instance is not one of an instrumented component.
        StateError: it has trapped.
        WizerError: the engine keeps its instances in another way than this package knows.
    """
    if not isinstance(instance, wc.Instance):
        raise OptionError(f"expected an instance of a component, got {shown(instance)}")
    if not capi_values.is_in_store(store, instance._instance):
        raise OptionError("the instance is in another store")
    handles = list(_core_instances(store))
    before = [_integer(store, handle, mark_global) for handle in handles]
    if instance.get_export_index(store, mark) is None:
        raise OptionError(
            f"the instance has no `{mark}` export: instantiate the `wasm` that `instrument` returned, "
            "not the original"
        )
    function = find_function(store, instance, (mark,))
    try:
        call_component(store, function, function.type(store), ())
    except wasmtime.WasmtimeError as error:
        raise StateError(
            "the component cannot be frozen any more: the engine lets nobody into one that has trapped",
            causes(error),
        ) from None
    after = [_integer(store, handle, mark_global) for handle in handles]
    marked = next((i for i, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]), None)
    if marked is None:
        raise _layout_changed()
    found: list[LiveCoreInstance] = []
    missing = list(expected)
    names = {name for name, _ in expected}
    for handle in handles[marked + 1 :]:
        if not missing:
            break
        name, number = missing[-1]
        if _integer(store, handle, name) == number:
            missing.pop()
            found.append(LiveCoreInstance(store, handle))
        elif any(_integer(store, handle, name) is not None for name in names):
            raise _layout_changed()
    if missing:
        raise _layout_changed()
    return found[::-1]


def _core_instances(store: wasmtime.Store) -> Iterator[wasmtime.Instance]:
    """Yield handles to all core instances of the store, the latest first.

    Some are not of a module but hold what the host made; these have no exports.
    """
    bound = wasmtime.Memory(store, wasmtime.MemoryType(wasmtime.Limits(0, 0)))
    place = bound._memory._anon_1
    for number in range(place.__private1 - 1, -1, -1):
        yield wasmtime.Instance._from_raw(ffi.wasmtime_instance_t(place.store_id, number))


def _integer(store: wasmtime.Store, instance: wasmtime.Instance, name: str) -> int | None:
    """Return the value of an exported global, a 32-bit integer, or None where there is no such export."""
    found = capi.export_of(store, instance, name)
    if not isinstance(found, wasmtime.Global):
        return None
    value = ffi.wasmtime_val_t()
    ffi.wasmtime_global_get(store._context(), ctypes.byref(found._global), ctypes.byref(value))
    return int(value.of.i32)


def _layout_changed() -> WizerError:
    return WizerError(
        "the core instances of the component are not where the engine is known to keep them; "
        "install the version of `wasmtime` that this package asks for"
    )
