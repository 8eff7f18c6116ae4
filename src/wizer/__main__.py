"""``python -m wizer`` is `wizer`, and this is what both start."""

from __future__ import annotations

import signal


def main() -> None:
    """Run this process's command line, and end the process.

    Until there is something to clean up, Ctrl-C ends the process at once, as it does other programs: what
    Python does about it, a traceback, could come anywhere in the middle of an import.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from wizer.cli import run_process

    run_process()


if __name__ == "__main__":
    main()
