"""What a process that was forked cannot do: the threads of the engine are not there, nor are others.

Importing this module does not import the engine.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final

_PATIENCE: Final = 10.0  # seconds; an import takes some milliseconds


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

_importing: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


def import_on_thread(imports: Callable[..., None], *args: Any) -> None:
    """Import something on a thread. A process that is forked meanwhile is forked once that is done.

    What is half imported would be locked in the new process, for ever: the thread is not there.
    """
    thread = threading.Thread(target=imports, args=args)
    _importing.add(thread)
    thread.start()


def _wait_for_imports() -> None:
    """Wait, but not for ever: a fork in the middle of an import may be what a thread waits for."""
    for thread in list(_importing):
        if thread.is_alive():
            thread.join(_PATIENCE)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_wait_for_imports, after_in_child=PROCESS.fork)
