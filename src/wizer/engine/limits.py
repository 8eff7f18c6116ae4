"""Bounds on a run; `wizer.engine.watchdog` applies them.

Importing this module does not import the engine.
"""

from __future__ import annotations

from wizer.errors import OptionError
from wizer.records import field_names, record


@record(kw_only=True)
class Limits:
    """Bounds on a run; None is no bound.

    The time limit stops guest code at its next loop or call. What waits elsewhere is not stopped by it: a
    ``memory.atomic.wait`` that nobody notifies, a WASI call that sleeps or reads, a Python function. For
    programs that have to end even then there is ``hard_exit``, which is called when the guest has not stopped
    soon after its time, and ends the process; the command line does so.

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
                raise OptionError(f"limit `{name}` must be from 0 to 2^63-1, not {value!r}")
