"""Finding the live core instances of an instrumented component."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wizer.component.instances import Instances
from wizer.component.instrument import INSTANCE_MARKER, InstrumentedComponent, marker_name
from wizer.engine.component import LiveCoreInstance, live_core_instances

if TYPE_CHECKING:
    import wasmtime
    from wasmtime.component import Instance


def find_live(
    store: wasmtime.Store, instance: Instance, instances: Instances, instrumented: InstrumentedComponent
) -> list[LiveCoreInstance]:
    """Return the core instances inside ``instance``, in the order in which they were made.

    Raises:
        OptionError: ``instance`` is not one of the instrumented component.
    """
    starts = [core.site.item.start for core in instances.cores]
    return live_core_instances(
        store,
        instance,
        mark=instrumented.mark,
        mark_global=INSTANCE_MARKER,
        expected=[
            (marker_name(instrumented.accessors[start]), instrumented.markers[start]) for start in starts
        ],
    )
