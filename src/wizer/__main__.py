"""``python -m wizer`` is `wizer`, and this is what both start."""

from __future__ import annotations

# What `signal` is made of. That has enumerations, which take a third of the time until here to import.
import _signal  # type: ignore[import-not-found]  # typeshed does not know it


def main() -> None:
    """Run this process's command line, and end the process.

    Until there is something to clean up, Ctrl-C ends the process at once, as it does other programs: what
    Python does about it, a traceback, could come anywhere in the middle of an import.
    """
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    from wizer.cli import run_process

    run_process()


if __name__ == "__main__":
    main()
