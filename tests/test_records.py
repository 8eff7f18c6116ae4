"""Records are frozen dataclasses in everything but what they cost."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from functools import cached_property
from typing import Any

import pytest

from wizer.records import field, field_names, record, replace


@record
class Point:
    """A point."""

    x: int
    y: int = 0


@record
class Other:
    x: int
    y: int = 0


@record
class Nothing:
    pass


@record(kw_only=True)
class Options:
    names: list[str] = field(default_factory=list)
    size: int = 3

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError("negative")


@record(caches=True)
class Cached:
    x: int

    @cached_property
    def parts(self) -> list[int]:
        return [self.x]


def test_fields_are_given_by_place_or_name() -> None:
    assert Point(1, 2).y == 2
    assert Point(y=2, x=1).x == 1
    assert Point(1).y == 0
    assert field_names(Point) == ("x", "y")
    assert Point.__doc__ == "A point."


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1, 2, 3), {}), ((1,), {"x": 1}), ((1,), {"z": 1})])
def test_wrong_arguments_are_refused(args: tuple[int, ...], kwargs: dict[str, int]) -> None:
    with pytest.raises(TypeError):
        Point(*args, **kwargs)


def test_only_names_where_only_names_are_taken() -> None:
    with pytest.raises(TypeError):
        Options([])  # type: ignore[call-arg]


def test_equality_is_by_type_and_value() -> None:
    assert Point(1) == Point(1, 0)
    assert Point(1) != Point(2)
    assert Nothing() == Nothing()
    strangers: list[object] = [Point(1), Other(1), (1, 0), Nothing()]
    assert [Point(1) == stranger for stranger in strangers] == [True, False, False, False]


def test_hashes_follow_equality() -> None:
    assert len({Point(1), Point(1, 0), Point(2), Nothing(), Nothing()}) == 3


def test_nothing_can_be_set_or_deleted() -> None:
    point = Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="x"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match="y"):
        del point.y
    with pytest.raises(AttributeError):
        point.z = 2  # type: ignore[attr-defined]


def test_default_factories_make_a_value_for_each() -> None:
    assert Options().names == []
    assert Options().names is not Options().names
    given = ["a"]
    assert Options(names=given).names is given


def test_post_init_runs() -> None:
    with pytest.raises(ValueError, match="negative"):
        Options(size=-1)


def test_caches() -> None:
    cached = Cached(3)
    assert cached.parts == [3]
    assert cached.parts is cached.parts
    assert cached == Cached(3)


def test_printing() -> None:
    assert repr(Point(1)) == "Point(x=1, y=0)"
    assert repr(Options(size=1)) == "Options(names=[], size=1)"


def test_replacing() -> None:
    assert replace(Point(1), y=5) == Point(1, 5)
    assert replace(Options(), names=["a"]) == Options(names=["a"])
    with pytest.raises(TypeError):
        replace(Point(1), z=5)
    with pytest.raises(ValueError, match="negative"):
        replace(Options(), size=-1)


def test_patterns() -> None:
    match Point(1, 2):
        case Point(x, y):
            assert (x, y) == (1, 2)
        case _:
            pytest.fail("no match")


def test_copies() -> None:
    for value in (Point(1, 2), Options(names=["a"]), Nothing()):
        assert copy.copy(value) == value
        assert copy.deepcopy(value) == value
        assert pickle.loads(pickle.dumps(value)) == value


def test_the_functions_of_dataclasses_know_them() -> None:
    point: Any = Point(1)
    options: Any = Options(size=1)
    assert dataclasses.is_dataclass(type(point))
    assert [f.name for f in dataclasses.fields(point)] == ["x", "y"]
    assert dataclasses.asdict(options) == {"names": [], "size": 1}
    assert dataclasses.replace(point, y=2) == Point(1, 2)
    assert dataclasses.replace(options, size=2) == Options(size=2)


def test_signatures() -> None:
    assert str(inspect.signature(Point)) == "(x: 'int', y: 'int' = 0) -> None"
    assert str(inspect.signature(Options)) == "(*, names: 'list[str]' = <factory>, size: 'int' = 3) -> None"
    assert str(inspect.signature(Nothing)) == "() -> None"
