"""Deterministic initialisation: what a guest sees of chance, time and directories, the same on every run.

Randomness comes from a seeded generator, clocks start at a given time and step each time somebody looks,
sleeping takes no time, directories are listed in the order of their names, what a file system says of a
file beside its kind and size (device, inode, times, links) is made up, and nothing is a terminal.

This file has the values; `wizer.engine.preview1` and `wizer.engine.preview2` hand them to guests. Importing
it does not import the engine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Final, TypeAlias

from wizer.checks import SWITCH, Kind, check, or_none, shown
from wizer.errors import OptionError
from wizer.records import record


@record(kw_only=True)
class Deterministic:
    """How chance, time and directories are made up.

    Attributes:
        seed: of the randomness; a number is the same as its decimal digits.
        start: what the clock shows at first, in nanoseconds since 1970; None: ``SOURCE_DATE_EPOCH`` where
            that variable is set, otherwise 0. Files have this time too.
        step: nanoseconds that pass each time a clock is read.
        reverse: list directories in the reverse order of their names, and number files otherwise.
        complement: random bits are the opposite ones.
        contents: files and links are read with other letters, digits and so on; 0: as they are.
        terminal: standard input, output and error are a terminal.
        resolution: what clocks say of their resolution, in nanoseconds.

    The last five are for finding out who depends on it.
    """

    seed: int | str = 0
    start: int | None = None
    step: int = 1_000_000
    reverse: bool = False
    complement: bool = False
    contents: int = 0
    terminal: bool = False
    resolution: int = 1_000
    network: bool = False

    def __post_init__(self) -> None:
        check(self, _KINDS)
        start = self.start
        if start is not None and not 0 <= start < 1 << 63:
            raise OptionError(f"the clock cannot start at {shown(start)} ns: expected 0 to 2^63-1")
        if not 0 <= self.step < 1 << 32:
            raise OptionError(f"a clock cannot step by {shown(self.step)} ns: expected 0 to 2^32-1")
        try:
            str(self.seed).encode()
        except ValueError as error:  # too many digits, or half a character
            raise OptionError(f"the seed {shown(self.seed)} cannot be used: {error}") from None


_WHOLE: Final = Kind("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool))

_KINDS: Final[Mapping[str, Kind]] = {
    "seed": Kind("a number or a string", lambda value: isinstance(value, str) or _WHOLE.holds(value)),
    "start": or_none(_WHOLE),
    "step": _WHOLE,
    "reverse": SWITCH,
    "network": SWITCH,
}

DeterministicOption: TypeAlias = "bool | int | str | Deterministic"


def as_deterministic(option: DeterministicOption | None) -> Deterministic | None:
    """Return what an option means: a seed, True for the default one, False or None for real randomness."""
    if option is None or option is False:
        return None
    if isinstance(option, Deterministic):
        return option
    return Deterministic() if option is True else Deterministic(seed=option)


_COMPLEMENT: Final = bytes(255 - byte for byte in range(256))

# The kinds of bytes: what is of one kind is as good as another one of it to who reads text.
_BYTE_KINDS: Final = (
    range(0x61, 0x7B),
    range(0x41, 0x5B),
    range(0x30, 0x3A),
    range(0x80, 0xC0),  # in UTF-8, what follows
    range(0xC3, 0xE0),
    range(0xE1, 0xED),
)


@cache
def disguise(number: int) -> bytes:
    """Return a table that exchanges bytes of one kind; 0: none. Hardly a byte is what it was.

    Every other table exchanges all bytes, whatever reads them: binary contents have no kinds.
    """
    if number == 0:
        return bytes(range(256))
    import random

    rng = random.Random(f"wizer disguise {number}")
    kinds = [range(256)] if number % 2 == 0 and number > 2 else _BYTE_KINDS
    table = bytearray(range(256))
    for kind in kinds:
        others = list(kind)
        while any(byte == other for byte, other in zip(kind, others, strict=True)):
            rng.shuffle(others)
        table[kind.start : kind.stop] = bytes(others)
    return bytes(table)


class World:
    """Chance, time and files as one run sees them.

    What answers a guest imports nothing: an import that is interrupted can stay locked for all threads.

    Raises:
        OptionError: ``SOURCE_DATE_EPOCH`` is needed and is no number of seconds.
    """

    def __init__(self, settings: Deterministic) -> None:
        from hashlib import shake_256

        self._shake_256 = shake_256
        self._disguise = disguise(settings.contents)
        self.start: Final = source_date_epoch() if settings.start is None else settings.start
        self.uptime: Final = settings.step
        self._settings = settings
        self._elapsed = 0
        self._requests = 0
        self._files: dict[int, int] = {}

    def random(self, length: int) -> bytes:
        """Return ``length`` bytes: SHAKE-256 of the seed and the number of the request.

        A standard extendable-output function and not Python's generator: no version of Python changes it.
        """
        self._requests += 1
        seed = b"wizer deterministic %d %s" % (self._requests, str(self._settings.seed).encode())
        digest = self._shake_256(seed).digest(length)
        return digest.translate(_COMPLEMENT) if self._settings.complement else digest

    @property
    def terminal(self) -> bool:
        """Whether standard input, output and error are a terminal."""
        return self._settings.terminal

    @property
    def resolution(self) -> int:
        """What clocks say of their resolution, in nanoseconds."""
        return self._settings.resolution

    @property
    def changes_contents(self) -> bool:
        """Whether files are read otherwise than they are."""
        return self._settings.contents != 0

    def contents(self, data: bytes) -> bytes:
        """Return what a guest reads where ``data`` is."""
        return data.translate(self._disguise)

    def elapsed(self) -> int:
        """Return the nanoseconds since the run began; looking takes a step."""
        now = self._elapsed
        self._elapsed += self._settings.step
        return now

    def time(self) -> int:
        """Return the nanoseconds since 1970; looking takes a step."""
        return self.start + self.elapsed()

    def monotonic(self) -> int:
        """Return what the monotonic clock shows; looking takes a step.

        It begins with a step, and not with nothing: whoever looks once depends on it, too.
        """
        return self.uptime + self.elapsed()

    def sleep(self, until: int) -> None:
        """Let it be at least ``until`` nanoseconds since the run began."""
        self._elapsed = max(self._elapsed, until)

    def file(self, inode: int) -> int:
        """Return the inode number for a file that the host calls ``inode``: they are counted as they come."""
        number = self._files.setdefault(inode, len(self._files) + 1)
        return (1 << 32) - number if self._settings.reverse else number

    def listed(self, names: Iterable[bytes]) -> list[bytes]:
        """Return the names of a directory's entries in their order; ``.`` and ``..`` come first."""
        ordered = sorted(names, reverse=self._settings.reverse)
        return sorted(ordered, key=lambda name: name not in (b".", b".."))


def source_date_epoch() -> int:
    """Return the time of ``SOURCE_DATE_EPOCH`` in nanoseconds, 0 where it is not set.

    https://reproducible-builds.org/specs/source-date-epoch/

    Raises:
        OptionError: it is not a whole number of seconds that a clock can show.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or int(text[:20]) >= (1 << 63) // 10**9:
        raise OptionError(f"SOURCE_DATE_EPOCH must be a number of seconds since 1970, not {text!r}")
    return int(text) * 10**9
