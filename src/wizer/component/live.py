"""Finding the live core instances of an instrumented component."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wizer.component.handles import PROBE, may_hold_handles
from wizer.component.instances import CoreInstance, Frame, Instances, frames, made
from wizer.component.instrument import INSTANCE_MARKER, InstrumentedComponent, marker_name
from wizer.engine.core_instances import LiveCoreInstance, live_core_instances
from wizer.records import record

if TYPE_CHECKING:
    from wizer.engine.types import ComponentInstance, Store


@record
class LiveComponent:
    """What is read of a live component.

    Attributes:
        cores: its core instances, in the order in which they were made.
        probes: the core instances that tell what handles a component instance holds, likewise.
    """

    cores: tuple[LiveCoreInstance, ...]
    probes: tuple[tuple[Frame, LiveCoreInstance], ...]


def probed_frames(instances: Instances) -> list[Frame]:
    """Return the component instances that have a probe, in the order in which they are made."""
    return [
        frame
        for frame in made(instances.root)
        if isinstance(frame, Frame) and may_hold_handles(frame.component)
    ]


def added_instances(instances: Instances, instrumented: InstrumentedComponent) -> tuple[int, int]:
    """Return how many core instances, and how many memories, are there only to be read."""
    watches = [instrumented.watches[frame.component.start] for frame in frames(instances.root)]
    logs = [watch for watch in watches if watch.log is not None]
    own = 1 + len(probed_frames(instances)) + sum(1 + watch.watchers for watch in logs)
    return own, len(logs)


def find_live(
    store: Store, instance: ComponentInstance, instances: Instances, instrumented: InstrumentedComponent
) -> LiveComponent:
    """Return the core instances inside ``instance``.

    Raises:
        OptionError: ``instance`` is not one of the instrumented component.
    """
    probed = set(map(id, probed_frames(instances)))
    parts = [part for part in made(instances.root) if isinstance(part, CoreInstance) or id(part) in probed]

    def marker(part: CoreInstance | Frame) -> tuple[str, int]:
        if isinstance(part, Frame):
            return PROBE, 0
        start = part.site.item.start
        return marker_name(instrumented.accessors[start]), instrumented.markers[start]

    lives = live_core_instances(
        store,
        instance,
        mark=instrumented.mark,
        mark_global=INSTANCE_MARKER,
        expected=[marker(part) for part in parts],
    )
    found = list(zip(parts, lives, strict=True))
    return LiveComponent(
        tuple(live for part, live in found if isinstance(part, CoreInstance)),
        tuple((part, live) for part, live in found if isinstance(part, Frame)),
    )
