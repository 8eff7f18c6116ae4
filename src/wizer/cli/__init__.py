"""The command line: `wizer`, a drop-in for the standalone ``wizer`` and for ``wasmtime wizer``.

Before::

    $ wizer app.wasm -o app.fast.wasm

one file per step: ``spec`` says which options there are, ``parse`` splits a command line by it, ``options``
gives the parts their meaning, ``run`` calls the library. ``main`` turns what comes of it into an exit status:

    ====  ==================================================
    0     the output is written
    1     initialisation failed, or the module is at fault; nothing
          is written; ``diff --exit-code``: the two differ
    2     the command line makes no sense
    3     ``audit``: something is frozen; ``verify``: it cannot be told
    4     a file could not be read or written
    5     a limit was met: of time, fuel, memory, size
    128+  ended by that signal (Ctrl-C: the signal itself)
    ====  ==================================================

Nothing is imported before it is needed: `wizer --version` knows neither the engine nor the compiler's name.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Sequence

from wizer.cli.parse import UsageError, parse
from wizer.cli.report import say, worded
from wizer.errors import InputError, LimitError, OutputError, WizerError

COMMANDS = ("audit", "build", "demo", "diff", "inspect", "verify")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (default: this process's) and return the exit status."""
    try:
        return _main(list(sys.argv[1:] if argv is None else argv))
    finally:
        if "wizer.cli.signals" in sys.modules:
            from wizer.cli.signals import listen

            listen()


def _main(arguments: list[str]) -> int:
    """Run a command line; once there is an output, signals are ignored."""
    try:
        status = _dispatch(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except UsageError as error:
        say(str(error))
        return 2
    except WizerError as error:
        say(f"Error: {error}")
        return status_of(error)
    except MemoryError:
        say("Error: out of memory")
        return 1
    except BrokenPipeError:
        return _end_by_broken_pipe()
    except OSError as error:
        say(f"Error: {worded(error)}")
        return 4
    except KeyboardInterrupt as interrupt:
        from wizer.cli.signals import end_by, number_of

        return end_by(number_of(interrupt))
    return status


def status_of(error: WizerError) -> int:
    """Return the exit status for an error."""
    if isinstance(error, InputError | OutputError):
        return 4
    return 5 if isinstance(error, LimitError) else 1


def run_process() -> None:
    """Run this process's command line and end the process with its exit status, as the `wizer` script.

    Only a process of its own may be ended so: without taking the interpreter and the engine's library apart,
    and without looking for garbage until then. Together these would take a tenth of a short run.
    """
    gc.disable()
    sys.setswitchinterval(_SWITCH)
    _take_memory_in_large_steps()
    _let_numpy_be_alone()
    status = _main(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.flush()
    os._exit(status)


_SWITCH = 5e-4
"""Seconds that a thread waits for the interpreter, at the most, while another one computes: what reads ahead
asks for it a dozen times, and would wait for 50 ms in all."""


def _let_numpy_be_alone() -> None:
    """Have numpy's linear algebra, which nobody calls, start no threads: they spin for work as they begin.

    Guests do not see it: they are given what is in `os.environ`.
    """
    if "OPENBLAS_NUM_THREADS" not in os.environ:
        os.putenv("OPENBLAS_NUM_THREADS", "1")


_M_TOP_PAD = -2  # malloc.h


def _take_memory_in_large_steps() -> None:
    """Let glibc take 16 MiB at a time from the system: the compiler's threads wait whenever it does."""
    import ctypes

    with contextlib.suppress(OSError, TypeError, AttributeError):  # another system's C library
        ctypes.CDLL(None).mallopt(_M_TOP_PAD, 16 << 20)


def _dispatch(arguments: list[str]) -> int:
    if arguments and arguments[0] in COMMANDS:
        return _command(arguments[0], arguments[1:])
    parsed = parse(arguments)
    if parsed.has("help"):
        from wizer.cli.help import render

        print(render(_version()), end="")
        return 0
    if parsed.has("version"):
        print(f"wizer {_version()}")
        return 0
    from wizer.cli import run

    if parsed.has("include-dir"):
        return run.include_dir()
    return run.main(parsed)


def _command(name: str, arguments: list[str]) -> int:
    if name == "audit":
        from wizer.cli import audit

        return audit.main(arguments)
    if name == "diff":
        from wizer.cli import diff

        return diff.main(arguments)
    if name == "inspect":
        from wizer.cli import inspect

        return inspect.main(arguments)
    if name == "verify":
        from wizer.cli import verify

        return verify.main(arguments)
    if name == "build":
        from wizer.cli import build

        return build.main(arguments)
    from wizer.cli import demo

    return demo.main(arguments)


def _version() -> str:
    from wizer import __version__

    return __version__


def _end_by_broken_pipe() -> int:
    """End as programs end whose reader has gone: by SIGPIPE, which Python ignores by default."""
    import signal

    from wizer.cli.signals import end_by

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered would fail again
    return end_by(signal.SIGPIPE) if hasattr(signal, "SIGPIPE") else 1
