"""Every error that Wizer raises, in one hierarchy.

A message names the item (an index, a name, a byte offset) and the way out. What lies behind it is in
``causes``, outermost first, the way the Rust tools print it::

    the `wizer-initialize` function trapped

    Caused by:
        0: error while executing at wasm backtrace:
        1: wasm trap: wasm `unreachable` instruction executed
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence


class WizerError(Exception):
    """The base of all errors of this package.

    Attributes:
        message: what failed, in one line, with the item's name.
        causes: why, outermost first; each may have several lines.
    """

    def __init__(self, message: str, causes: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.causes: tuple[str, ...] = tuple(causes)

    def __reduce__(self) -> tuple[object, ...]:
        """Say how to copy an error, and how to pickle it."""
        return _restored, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        if not self.causes:
            return self.message
        if len(self.causes) == 1:
            return f"{self.message}\n\nCaused by:\n" + _indent(self.causes[0], "    ")
        numbered = (_indent(c, f"{i:>5}: ") for i, c in enumerate(self.causes))
        return f"{self.message}\n\nCaused by:\n" + "\n".join(numbered)


def _restored(
    cls: type[WizerError], args: tuple[object, ...], attributes: Mapping[str, object]
) -> WizerError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(attributes)
    return error


def _indent(text: str, first: str) -> str:
    """Put ``first`` before the first line and as much blank space before the others."""
    return first + text.replace("\n", "\n" + " " * len(first))


class WizerWarning(UserWarning):
    """What may go wrong with a snapshot that was made all the same."""


class ParseError(WizerError):
    """The input is not a WebAssembly binary, or not one that this version can read.

    Attributes:
        offset: where in the input, in bytes from its start.
    """

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} (at offset {offset:#x})")
        self.offset = offset


class InvalidError(WizerError):
    """The input is well-formed, but the engine finds it invalid or needs a feature that is off."""


class OptionError(WizerError):
    """An option, or the combination of some, makes no sense for this input."""


class LinkError(WizerError):
    """The module could not be instantiated: an import is of another type, or a resource is missing."""


class TrapError(WizerError):
    """Initialisation trapped, or a host function raised."""


class ExitError(TrapError):
    """The guest left through ``proc_exit``.

    Attributes:
        code: the guest's exit status.
    """

    def __init__(self, message: str, code: int, causes: Sequence[str] = ()) -> None:
        super().__init__(message, causes)
        self.code = code


class LimitError(TrapError):
    """A run took more time, fuel or memory than it was given, or its output is too long."""


class StateError(WizerError):
    """The instance holds state that no module can express; the message names the place."""


class InputError(WizerError):
    """A file that is to be read could not be."""


class OutputError(WizerError):
    """The output could not be written; nothing of it is left behind."""


@contextlib.contextmanager
def asking_for_numpy() -> Iterator[None]:
    """Say who has to install numpy, and why, where the work in here is too much to be done without it.

    Raises:
        WizerError: numpy is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "numpy":
            raise
        raise WizerError(
            "this takes numpy, which is not installed: `pip install numpy`",
            ["it is for memories in very many pieces, heaps of thousands of objects, and for comparing"],
        ) from None


@asking_for_numpy()
def check_numpy() -> None:
    """Raise `WizerError` where numpy is not installed; it is not imported for that."""
    from importlib.util import find_spec

    if find_spec("numpy") is None:
        raise ModuleNotFoundError("No module named 'numpy'", name="numpy")


WASI_IS_OFF = "WASI is off: provide it with wasi=Wasi() (--allow-wasi)"
"""The way out where something of WASI is missing."""
