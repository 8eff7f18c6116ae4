"""Numbers, sizes and times are read alike by every option, key and configuration file that takes one."""

from __future__ import annotations

from pathlib import Path

import pytest

from wizer import Limits
from wizer.cli.flags import Flags
from wizer.cli.options import make_flags, run_options
from wizer.cli.parse import UsageError, parse
from wizer.errors import OptionError

TIMES = [
    ("2", 2.0),
    ("1.5s", 1.5),
    ("100ms", 0.1),
    ("5us", 5e-6),
    ("5\N{MICRO SIGN}s", 5e-6),
    ("5\N{GREEK SMALL LETTER MU}s", 5e-6),
    ("10ns", 1e-8),
    ("1m", 60.0),
    ("2min", 120.0),
    ("1h", 3600.0),
    ("1_000ms", 1.0),
    ("3 s", 3.0),
]
SIZES = [
    ("65536", 65536),
    ("64KiB", 65536),
    ("1_000", 1000),
    ("0x10000", 65536),
    ("1G", 1 << 30),
    ("3 mib", 3 << 20),
]
NUMBERS = [("1000", 1000), ("1_000", 1000), ("0x1F", 31), ("0", 0)]


def flags(*line: str) -> Flags:
    return make_flags(run_options(parse(["in.wasm", *line])))


def limits(tmp_path: Path, option: str, key: str, text: str) -> list[Limits]:
    """What a value means as an option, as a key, and as a key of a configuration file."""
    file = tmp_path / "wizer.toml"
    file.write_text(f"[wasm]\n{key} = {text!r}\n", "utf-8")
    lines = [[f"--{option}", text], [f"--{option}={text}"], [f"-W{key}={text}"], [f"--config={file}"]]
    return [flags(*line).limits for line in lines]


@pytest.mark.parametrize(("text", "seconds"), TIMES)
def test_times(text: str, seconds: float, tmp_path: Path) -> None:
    assert [found.timeout for found in limits(tmp_path, "timeout", "timeout", text)] == [
        pytest.approx(seconds)
    ] * 4


@pytest.mark.parametrize(("text", "size"), SIZES)
def test_sizes(text: str, size: int, tmp_path: Path) -> None:
    assert [found.max_memory for found in limits(tmp_path, "max-memory", "max-memory-size", text)] == [
        size
    ] * 4
    assert flags(f"-Omemory-reservation={text}").engine.memory_reservation == size
    assert flags(f"-Wmax-wasm-stack={text}").engine.max_wasm_stack == size
    pooling = flags(f"-Opooling-allocator,pooling-max-memory-size={text}").engine.pooling
    assert pooling == {"max_memory_size": size}


@pytest.mark.parametrize(("text", "number"), NUMBERS)
def test_numbers(text: str, number: int, tmp_path: Path) -> None:
    assert [found.fuel for found in limits(tmp_path, "fuel", "fuel", text)] == [number] * 4
    assert run_options(parse(["--max-data-segments", text])).max_data_segments == number


@pytest.mark.parametrize(
    ("option", "key", "text"),
    [
        ("timeout", "timeout", "soon"),
        ("timeout", "timeout", "5\N{LATIN SMALL LETTER U WITH DIAERESIS}s"),
        ("timeout", "timeout", "-1"),
        ("timeout", "timeout", ""),
        ("fuel", "fuel", "1k"),
        ("fuel", "fuel", "-1"),
        ("fuel", "fuel", "1" * 30),
        ("max-memory", "max-memory-size", "1TiB"),
        ("max-memory", "max-memory-size", "1e9"),
    ],
)
def test_what_one_refuses_the_others_refuse(option: str, key: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "wizer.toml"
    file.write_text(f"[wasm]\n{key} = {text!r}\n", "utf-8")
    for line in ([f"--{option}={text}"], [f"-W{key}={text}"], [f"--config={file}"]):
        with pytest.raises((UsageError, OptionError)):
            flags(*line)
