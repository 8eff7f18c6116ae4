"""Work on a thread of its own, while the caller goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable

from wizer.kept import alone


def begin(work: Callable[[], object]) -> Callable[[], None]:
    """Begin something on a thread; return what waits for its end and raises what it raised.

    Where the other cores have other runs, it is done at once.
    """
    failures: list[BaseException] = []

    def done() -> None:
        try:
            work()
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=done) if alone() else None
    if thread is not None:
        thread.start()
    else:
        done()

    def wait() -> None:
        if thread is not None:
            thread.join()
        if failures:
            raise failures[0]

    return wait
