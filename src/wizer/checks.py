"""Checks of what is given for an option; an error names the option, what it takes and what it was given."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NoReturn

from wizer.errors import OptionError
from wizer.records import record

_LONGEST = 60  # characters of what was given that a message shows


@record
class Kind:
    """What an option takes.

    Attributes:
        expected: in words, for a message.
        holds: whether a value is such.
    """

    expected: str
    holds: Callable[[object], bool]


def check(given: object, kinds: Mapping[str, Kind]) -> None:
    """Check attributes of ``given``: each, by its name, must be of its kind; raise `OptionError` if not."""
    for name, kind in kinds.items():
        value = getattr(given, name)
        if not kind.holds(value):
            refuse(name, value, kind.expected)


def expect(name: str, value: object, kind: Kind) -> None:
    """Check an argument; raise `OptionError` where it is not of its kind."""
    if not kind.holds(value):
        raise OptionError(f"the argument `{name}` takes {kind.expected}, not {shown(value)}")


def refuse(option: str, value: object, expected: str) -> NoReturn:
    """Raise the `OptionError` about an option that was given what it does not take."""
    raise OptionError(f"the option `{option}` takes {expected}, not {shown(value)}")


def shown(value: object) -> str:
    """Return the beginning of a value as text for a message, whatever the value is."""
    try:
        text = repr(value)
    except Exception as error:  # a number of more digits than Python writes; somebody's class
        return f"an object of {type(value).__name__} (its text cannot be made: {type(error).__name__})"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def words_kind(*words: object) -> Kind:
    """Return the kind of values that are one of ``words``."""
    return Kind("one of " + ", ".join(map(repr, words)), lambda value: value in words)


def instance_kind(expected: str, *classes: type) -> Kind:
    """Return the kind of values that are instances of ``classes``."""
    return Kind(expected, lambda value: isinstance(value, classes))


def is_unicode(text: str) -> bool:
    """Whether a string has an encoding; Python's strings may have halves of characters, too."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def or_none(kind: Kind) -> Kind:
    """Return the kind of values that are of another kind, or None."""
    return Kind(f"{kind.expected}, or None", lambda value: value is None or kind.holds(value))


def mapping_kind(expected: str, values: Kind | None = None) -> Kind:
    """Return the kind of mappings from strings to values of another kind, or to any."""

    def holds(value: object) -> bool:
        return (
            isinstance(value, Mapping)
            and all(isinstance(name, str) for name in value)
            and (values is None or all(map(values.holds, value.values())))
        )

    return Kind(expected, holds)


def collection_kind(expected: str, items: Kind) -> Kind:
    """Return the kind of collections of another kind; strings are none, whatever they consist of."""

    def holds(value: object) -> bool:
        return (
            isinstance(value, Collection)
            and not isinstance(value, str | bytes)
            and all(map(items.holds, value))
        )

    return Kind(expected, holds)


def sequence_kind(expected: str, items: Kind) -> Kind:
    """Return the kind of sequences of another kind."""
    kind = collection_kind(expected, items)
    return Kind(expected, lambda value: isinstance(value, Sequence) and kind.holds(value))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


SWITCH: Final = instance_kind("True or False", bool)
COUNT: Final = Kind("a whole number that is not negative", _is_count)
CALLABLE: Final = Kind("a function", callable)
TEXT: Final = instance_kind("a string", str)
PATH: Final = instance_kind("a path", str, os.PathLike)
TEXTS: Final = sequence_kind("a sequence of strings", TEXT)
TEXT_COLLECTION: Final = collection_kind("a collection of strings", TEXT)
NAMED: Final = mapping_kind("a mapping from names")
TEXT_MAPPING: Final = mapping_kind("a mapping from strings to strings", TEXT)
