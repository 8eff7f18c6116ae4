"""Bounds on a run; `wizer.engine.watchdog` applies them to the guest, `wizer.engine.meter` to all the rest.

Importing this module does not import the engine.
"""

from __future__ import annotations

from wizer.checks import shown
from wizer.errors import OptionError
from wizer.records import field_names, record


@record(kw_only=True)
class Limits:
    """Bounds on a run; None is no bound.

    In one's own process they hold for guest code, which stops at its next loop or call, and for what the
    engine allots to it. Nothing there can end a compiler, Wizer's own work on a large module, a wait inside
    the engine (a WASI sleep, ``memory.atomic.wait32`` in a start function) or one inside a host function. The
    command line, and in the library ``isolate=True``, end the process that does the run where all of it
    together takes two seconds more than ``timeout``, or the process 144 MiB more than ``max_memory``.
    ``hard_exit`` is called where a guest has not stopped soon after its time; it ends the process.

    Attributes:
        timeout: seconds of wall time for all guest code of the run.
        fuel: units of fuel, about one an instruction, for all guest code of the run.
        max_memory: bytes, for all linear memories together; and for the heap of GC objects.
        max_table_elements: elements, for all tables together.
        max_instances, max_tables, max_memories: how many of each there may be.

    Raises:
        OptionError: a bound is negative or not a number.
    """

    timeout: float | None = None
    fuel: int | None = None
    max_memory: int | None = None
    max_table_elements: int | None = None
    max_instances: int | None = None
    max_tables: int | None = None
    max_memories: int | None = None

    def __post_init__(self) -> None:
        for name in field_names(Limits):
            value = getattr(self, name)
            types = int | float if name == "timeout" else int
            if value is not None and not (
                isinstance(value, types) and not isinstance(value, bool) and 0 <= value < 1 << 63
            ):
                raise OptionError(f"limit `{name}` must be from 0 to 2^63-1, not {shown(value)}")
