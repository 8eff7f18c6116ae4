"""What a process that was forked cannot do: the threads of the engine are not there.

Importing this module does not import the engine.
"""

from __future__ import annotations

import os
import sys


class Process:
    """What matters about this process.

    Attributes:
        forked: it was forked from one that had the engine. The threads that the engine compiles with are not
            here then; whoever gives them something to do waits for ever.
        uses_wasi: guests have had WASI.
        lost_wasi: it was forked from one whose guests had WASI. The threads that WASI opens files and sleeps
            with are not here then.
    """

    forked: bool = False
    uses_wasi = False
    lost_wasi: bool = False

    def fork(self) -> None:
        """Note that this process has just been forked."""
        self.forked = "wasmtime" in sys.modules
        self.lost_wasi = self.lost_wasi or self.uses_wasi


PROCESS = Process()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=PROCESS.fork)
