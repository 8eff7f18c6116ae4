"""Records: frozen dataclasses with slots, which cost nothing until they are used.

For every class, ``dataclasses`` writes and compiles half a dozen methods when it is defined, and it imports
``inspect``: a third more to start the command (RATIONALE.md has the figures). A record is the same to its
users, also to the functions of ``dataclasses``; but comparing, hashing and printing are shared code, and
``__init__`` is compiled when the first instance is made::

    @record
    class Limits:
        minimum: int
        maximum: int | None = None

Records are not made to be derived from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, NoReturn, TypeVar, dataclass_transform, overload

T = TypeVar("T")


class _Unset:
    """Stands for the default value of a field that is made anew for each instance."""

    def __repr__(self) -> str:
        return "<factory>"


_UNSET = _Unset()


class _Factory:
    """Makes the default value of a field, anew for each instance."""

    def __init__(self, make: Callable[[], object]) -> None:
        self.make = make


def field(*, default_factory: Callable[[], Any]) -> Any:
    """Declare a field whose default value is made anew for each instance."""
    return _Factory(default_factory)


@overload
def record(cls: type[T], /) -> type[T]: ...
@overload
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(*, kw_only: bool = False, caches: bool = False) -> Callable[[type[T]], type[T]]: ...
def record(cls: type[T] | None = None, /, *, kw_only: bool = False, caches: bool = False) -> Any:
    """Make a record of a class: its annotated names become its fields.

    Args:
        cls: the class.
        kw_only: whether ``__init__`` takes the fields by name only.
        caches: whether instances have room for cached properties.
    """
    if cls is None:
        return lambda cls: _made(cls, kw_only, caches)
    return _made(cls, kw_only, caches)


def replace(instance: T, /, **changes: Any) -> T:
    """Return a record like ``instance`` with other values in some fields."""
    values = {name: getattr(instance, name) for name in _fields(type(instance)).names}
    return type(instance)(**{**values, **changes})


def field_names(cls: type) -> tuple[str, ...]:
    """Return the names of a record's fields."""
    return _fields(cls).names


def field_defaults(cls: type) -> Mapping[str, object]:
    """Return the default values of a record's fields, for those that have one."""
    return _fields(cls).defaults


class _Fields:
    """A record's fields; as an attribute of the class, what ``dataclasses`` wants to know of them."""

    def __init__(self, names: tuple[str, ...], defaults: Mapping[str, object], kw_only: bool) -> None:
        self.names = names
        self.defaults = defaults
        self.kw_only = kw_only

    def __get__(self, _instance: object, owner: type) -> object:
        import dataclasses

        described = [self._described(name) for name in self.names]
        twin: Any = dataclasses.make_dataclass(owner.__name__, described, kw_only=self.kw_only)
        return twin.__dataclass_fields__

    def _described(self, name: str) -> tuple[str, Any, Any]:
        import dataclasses

        if name not in self.defaults:
            return name, Any, dataclasses.field()
        default = self.defaults[name]
        if isinstance(default, _Factory):
            return name, Any, dataclasses.field(default_factory=default.make)
        return name, Any, dataclasses.field(default=default)


class _Signature:
    """What ``inspect`` and ``help`` show of a record: the parameters of its ``__init__``."""

    def __get__(self, _instance: object, owner: type) -> object:
        import inspect

        signature = inspect.signature(_compiled_init(owner))
        return signature.replace(parameters=[*signature.parameters.values()][1:])


def _fields(cls: type) -> _Fields:
    found: _Fields = cls.__dict__["__dataclass_fields__"]
    return found


def _made(cls: type, kw_only: bool, caches: bool) -> type:
    """Return the class anew, with slots and the methods of a record."""
    names = tuple(cls.__annotations__)
    namespace = {
        name: value for name, value in cls.__dict__.items() if name not in ("__dict__", "__weakref__")
    }
    defaults = {name: namespace.pop(name) for name in names if name in namespace}
    namespace["__slots__"] = (*names, "__dict__") if caches else names
    namespace["__match_args__"] = () if kw_only else names
    namespace["__dataclass_fields__"] = _Fields(names, defaults, kw_only)
    namespace["__signature__"] = _Signature()
    shown = namespace.get("__repr__")
    namespace.update(_METHODS)
    namespace.update(_comparing(names))
    if shown is not None:
        namespace["__repr__"] = shown
    return type(cls)(cls.__name__, cls.__bases__, namespace)


def _comparing(names: tuple[str, ...]) -> dict[str, object]:
    key: Callable[[Any], Any] = attrgetter(*names) if names else lambda _: ()

    def eq(self: object, other: object) -> bool:
        return key(self) == key(other) if other.__class__ is self.__class__ else NotImplemented

    return {"__eq__": eq, "__hash__": lambda self: hash(key(self))}


def _init(self: Any, *args: object, **kwargs: object) -> None:
    """Stand in for ``__init__`` until the first instance is made."""
    cls = type(self)
    cls.__init__ = _compiled_init(cls)
    cls.__init__(self, *args, **kwargs)


def _compiled_init(cls: type) -> Any:
    fields = _fields(cls)
    scope: dict[str, Any] = {"_UNSET": _UNSET}
    parameters, lines = ["self", *["*"] * fields.kw_only], []
    for name in fields.names:
        scope[f"set_{name}"] = cls.__dict__[name].__set__  # the slot's: __setattr__ refuses
        parameter, value = name, name
        if name in fields.defaults:
            default = fields.defaults[name]
            parameter = f"{name}=default_{name}"
            if isinstance(default, _Factory):
                scope[f"make_{name}"], default = default.make, _UNSET
                value = f"make_{name}() if {name} is _UNSET else {name}"
            scope[f"default_{name}"] = default
        parameters.append(parameter)
        lines.append(f"set_{name}(self, {value})")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    body = "\n  ".join(lines or ["pass"])
    exec(f"def __init__({', '.join(parameters)}):\n  {body}", scope)
    scope["__init__"].__annotations__ = {**cls.__annotations__, "return": None}
    scope["__init__"].__qualname__ = f"{cls.__qualname__}.__init__"
    return scope["__init__"]


def _repr(self: object) -> str:
    values = ", ".join(f"{name}={getattr(self, name)!r}" for name in field_names(type(self)))
    return f"{type(self).__qualname__}({values})"


def _setattr(_self: object, name: str, _value: object) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delattr(_self: object, name: str) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _reduce(self: object) -> tuple[object, ...]:
    """Say how to copy an instance, and how to pickle it."""
    cls = type(self)
    return _restored, (cls, tuple(getattr(self, name) for name in field_names(cls)))


def _restored(cls: type[T], values: tuple[object, ...]) -> T:
    instance = cls.__new__(cls)
    for name, value in zip(field_names(cls), values, strict=True):
        object.__setattr__(instance, name, value)
    return instance


_METHODS = {
    "__init__": _init,
    "__repr__": _repr,
    "__setattr__": _setattr,
    "__delattr__": _delattr,
    "__reduce__": _reduce,
    "__replace__": replace,
}
