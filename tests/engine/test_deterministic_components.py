"""Deterministic components: what WASI 0.2 shows them of chance and time."""

from __future__ import annotations

import pytest

from support.observer import COMPONENT
from wizer import Session, Wasi, wizen
from wizer.engine.deterministic import Deterministic, World


def test_what_a_component_sees() -> None:
    settings = Deterministic(seed=5, start=10**18 + 7)
    world = World(settings)
    with Session(COMPONENT, wasi=Wasi(), unknown_imports="error", deterministic=settings) as session:
        session.call("wizer-initialize")
        numbers = [int.from_bytes(world.random(length), "little") for length in (5, 8, 8, 8)]
        assert session.call("load", 4096) == numbers[0]
        assert [session.call("load", at) for at in (16, 32, 40)] == numbers[1:]
        assert session.call("load", 48) == 10**9
        assert session.call("load", 56) == 7
        assert session.call("load", 64) == 2_000_000


def test_the_engine_keeps_the_rest_of_an_interface() -> None:
    with Session(COMPONENT, wasi=Wasi(), unknown_imports="error", deterministic=True) as session:
        assert session.call("wait") > 0


def test_same_bytes() -> None:
    made = {wizen(COMPONENT, wasi=Wasi(), unknown_imports="error", deterministic=3) for _ in range(2)}
    assert len(made) == 1
    assert wizen(COMPONENT, wasi=Wasi(), unknown_imports="error", deterministic=4) not in made
    assert len({wizen(COMPONENT, wasi=Wasi(), unknown_imports="error") for _ in range(2)}) == 2


def test_imports_go_before_what_is_made_up() -> None:
    from wizer.engine.preview2 import VERSION

    imports = {f"wasi:random/random@{VERSION}": {"get-random-u64": lambda: 77, "get-random-bytes": bytes}}
    with Session(
        COMPONENT, imports=imports, wasi=Wasi(), unknown_imports="error", deterministic=True
    ) as session:
        session.call("wizer-initialize")
        assert session.call("load", 16) == 77


@pytest.mark.parametrize("deterministic", [True, False])
def test_without_wasi_there_is_nothing(deterministic: bool) -> None:
    from wizer import TrapError

    with Session(COMPONENT, deterministic=deterministic) as session, pytest.raises(TrapError):
        session.call("wizer-initialize")
