"""Freezing: from a live component, in our engine or in that of the caller, to the chunks of its snapshot."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Unpack

from wizer.binary.assemble import Chunk
from wizer.component.adapter import without_handles
from wizer.component.capture import capture_component
from wizer.component.handles import reopened
from wizer.component.hollow import hollow, linked_names
from wizer.component.instances import Exports, Instances, evaluate, exported_functions
from wizer.component.instrument import InstrumentedComponent, instrument_component
from wizer.component.live import LiveComponent, find_live
from wizer.component.parse import parse_component
from wizer.component.removal import Path
from wizer.component.reopen import Reopened
from wizer.component.rewrite import rewrite_component
from wizer.core.rewrite import rewrite
from wizer.core.session import validator
from wizer.engine.original import Original
from wizer.errors import OptionError
from wizer.options import ExportChanges, OpenHandles, Options
from wizer.progress import PROGRESS

if TYPE_CHECKING:
    from wizer.binary.module import Module
    from wizer.core.state import State
    from wizer.engine.types import ComponentInstance, Store
    from wizer.engine.validate import Validator


def freeze(
    instances: Instances,
    instrumented: InstrumentedComponent,
    live: LiveComponent,
    removed: Collection[Path],
    options: Options,
    validator: Validator | None,
) -> list[Chunk]:
    """Return the chunks of the snapshot; those of memory contents are views on the live memory.

    Args:
        instances: the instantiation of the original component.
        instrumented: what was made of it.
        live: its core instances, live.
        removed: the exported functions that the snapshot does not have.
        options: say how memory is laid out, and what to do about open handles.
        validator: checks what is made.

    Raises:
        OptionError: a function cannot be left out, or the limit of data segments is too small.
        StateError: a core instance holds what no module can express, or a component instance open handles.
    """
    if not options.keep_libc_state:
        forget(instances, instrumented, live)
    states, handles = captured(instances, instrumented, live, options.open_handles)
    return rewritten(instances, states, handles, removed, options, validator)


def captured(
    instances: Instances, instrumented: InstrumentedComponent, live: LiveComponent, open_handles: OpenHandles
) -> tuple[dict[int, State], dict[int, Reopened]]:
    """Return the states of the core instances, by their numbers, and what to open again, as `reopened` does.

    Raises:
        StateError: a core instance holds what no module can express, or a component instance open handles.
    """
    PROGRESS.at("capturing")
    found = capture_component(instances, instrumented, live.cores)
    states = {core.number: without_handles(core.module, found[core.number]) for core in instances.own_cores}
    put_back = [core for core in instances.own_cores if states[core.number] is not found[core.number]]
    return states, reopened(live.probes, instrumented.watches, put_back, open_handles)


def rewritten(
    instances: Instances,
    states: Mapping[int, State],
    handles: Mapping[int, Reopened],
    removed: Collection[Path],
    options: Options,
    validator: Validator | None,
) -> list[Chunk]:
    """Return the chunks of the snapshot of a component.

    It is validated in parts: each module, and the component with hollow modules.

    Args:
        instances: the instantiation of the original component.
        states: of its core instances, by their numbers.
        handles: what is opened again in which component instance, by the `id` of its frame.
        removed: the exported functions that the snapshot does not have.
        options: say how memory is laid out.
        validator: checks what is made.
    """
    PROGRESS.at("writing")
    wait = None
    if validator is not None:
        wait = validator.component(_outline(instances, states, handles, removed))
    modules = {
        core.number: rewrite(
            core.module,
            states[core.number],
            core.module.exports,
            **options.data_options(core.module),
            check=None if validator is None else validator.module,
        )
        for core in instances.own_cores
    }
    if wait is not None:
        wait()
    return rewrite_component(instances, modules, handles, removed)


def _outline(
    instances: Instances,
    states: Mapping[int, State],
    handles: Mapping[int, Reopened],
    removed: Collection[Path],
) -> list[Chunk]:
    """Return the chunks of the snapshot without what is inside of modules."""
    names = linked_names(instances)
    inside = {core.number: hollow(core.module, states[core.number], names) for core in instances.own_cores}
    return rewrite_component(instances, inside, handles, removed)


def forget(instances: Instances, instrumented: InstrumentedComponent, live: LiveComponent) -> None:
    """Have the libcs inside forget what they know of the host; see `wizer.core.libc`."""
    for core, inside in zip(instances.cores, live.cores, strict=True):
        accessors = instrumented.accessors[core.site.item.start]
        for what in accessors.forget:
            inside.accessor(f"{accessors.prefix}forget.{what}", 0)()


def refuse_renames(rename: Mapping[str, str] | None) -> None:
    """Raise `OptionError` where there is something to rename."""
    if rename:
        raise OptionError(
            "components do not support renaming functions: their names are part of a component's type"
        )


def find_path(functions: Iterable[Path], name: str) -> Path:
    """Return the path of the function that ``name`` means.

    That is the function ``name``, or ``instance.function``, where the instance's version may be missing, or
    a function of this name in whatever instance, as long as there is one only.

    Raises:
        OptionError: there is none, or there are several.
    """
    paths = list(functions)
    readings = (
        [path for path in paths if ".".join(path) == name],
        [path for path in paths if ".".join(_unversioned(path)) == name],
        [path for path in paths if path[-1] == name],
    )
    found = next((reading for reading in readings if reading), [])
    if not found:
        known = ", ".join(f"`{'.'.join(path)}`" for path in paths) or "none"
        raise OptionError(f"the component does not export a function `{name}`; it exports: {known}")
    if len(found) > 1:
        several = ", ".join(f"`{'.'.join(path)}`" for path in found)
        raise OptionError(f"the component exports several functions `{name}`: {several}")
    return found[0]


def _unversioned(path: Path) -> Path:
    return (*(name.partition("@")[0] for name in path[:-1]), path[-1])


class ComponentInstrumented:
    """An instrumented component: the `InstrumentedGuest` of `wizer.Instrumented`.

    Attributes:
        wasm: the component to instantiate, in the binary format: the original with exports added.
        prefix: what the name of the added function begins with.
    """

    def __init__(self, wasm: bytes, options: Options) -> None:
        self._instances = evaluate(parse_component(wasm))
        self._instrumented = instrument_component(self._instances)
        self._options = options
        self._validator = validator(options, Original(wasm))
        self.wasm: bytes = b"".join(self._instrumented.chunks)
        self.prefix: str = self._instrumented.mark

    @property
    def module(self) -> Module:
        """What only a module has: raises `OptionError`."""
        raise OptionError("a component is not one module")

    def chunks(
        self,
        store: Store,
        instance: ComponentInstance,
        capture_imports: Collection[object],
        **changes: Unpack[ExportChanges],
    ) -> list[Chunk]:
        """Freeze an instance; see `wizer.Instrumented.snapshot`.

        Names to keep may be missing; there is nothing to rename, and no import to capture: what core
        instances hold is all inside.
        """
        refuse_renames(changes.get("rename"))
        if capture_imports:
            raise OptionError("components do not import memories, tables or globals to capture")
        paths = list(exported_functions(Exports(self._instances.root.exports)))
        kept = changes.get("keep", ())
        removed = {find_path(paths, name) for name in changes.get("remove", ()) if name not in kept}
        live = find_live(store, instance, self._instances, self._instrumented)
        return freeze(self._instances, self._instrumented, live, removed, self._options, self._validator)
