"""Runs in a process of their own, which can be ended at any moment: at their limits, whatever they are doing.

A compiler, or a wait inside the engine, cannot be ended within one's own process. So the parent starts a
worker, a fresh interpreter, gives it a job, and looks at the time and the memory that it takes::

    parent                          worker
      │  ── job, arguments ──────────→ │
      │  ←── stage, note, warning ──── │   any number of them
      │  ←─────── result, failure ──── │

`parent` has the one side, `worker` the other, and `failures` what an exception is in between. The worker ends
when the parent does, and has nothing to leave behind: what it writes is a file without a name.
"""
