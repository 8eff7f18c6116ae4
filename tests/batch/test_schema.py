"""The schema that editors use says of a file what the reader says of it."""

from __future__ import annotations

import json
import tomllib
from importlib import resources
from pathlib import Path

import jsonschema
import pytest

from batch.test_config import WRONG
from wizer.batch import config, keys
from wizer.batch.schema import schema

HEAD = '[snapshots.a]\ninput = "a.wasm"\noutput = "b.wasm"\nwasi = true\n'

# For each key, values that it takes, and values that it does not.
VALUES: dict[str, tuple[list[str], list[str]]] = {
    "init": (['"boot"', '["boot", "setup(3)"]'], ["3", "[3]"]),
    "keep-init": (["true"], ['"yes"', "1"]),
    "rename": (['{ _start = "main" }'], ['"a"', "{ a = 1 }"]),
    "preload": (['{ env = "env.wasm" }'], ["{ env = 1 }"]),
    "globals": (
        ['{ "env.base" = 3 }', '{ "env.base" = 1.5 }'],
        ['{ "env.base" = "3" }', '{ "env.base" = true }'],
    ),
    "wasi": (["true"], ["1"]),
    "args": (['["a"]'], ['"a"', "[1]"]),
    "env": (['{ A = "b" }'], ["{ A = 1 }"]),
    "inherit-env": (["true"], ['["A"]']),
    "dirs": (['["conf"]', '{ "/app" = "conf" }'], ["1", "[1]"]),
    "read-only": (["true"], ['"x"']),
    "stdin": (['"file"'], ["true"]),
    "deterministic": (["true", '"seed"', "7"], ["1.5", "[1]"]),
    "keep-libc-state": (["true"], ["1"]),
    "layout": (['"small"'], ['"tiny"']),
    "max-data-segments": (["1024"], ["-1", '"many"', "true"]),
    "open-handles": (['"drop"'], ['"keep"']),
    "precompile": (['"b.cwasm"'], ["1"]),
    "unknown-imports": (['"error"'], ['"ignore"']),
    "producers": (["true"], ['"yes"']),
    "verify": (["true"], ["1"]),
    "validate": (["false"], ["0"]),
    "audit": (["true", '["random", "clock"]'], ['"random"', '["chance"]']),
    "timeout": (['"1.5s"', '"10m"', "2"], ['"soon"', "-1", "true"]),
    "fuel": (["1000"], ['"1000"', "1.5"]),
    "max-memory": (['"64MiB"', "65536", '"1G"'], ['"much"', "-1"]),
    "max-output": (['"1 MiB"'], ['"1 XiB"']),
    "compiler": (['"cranelift"'], ['"llvm"']),
    "features": (["{ simd = false }"], ["{ simd = 1 }", "{ teleport = true }"]),
}


def is_toml(text: str) -> bool:
    """Whether there is anything for a schema to say of a file."""
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


CASES = [
    (key, text, good)
    for key, (right, wrong) in VALUES.items()
    for good in (True, False)
    for text in (right if good else wrong)
]


def test_every_key_has_values_here() -> None:
    assert {key.name for key in keys.KEYS} - VALUES.keys() == {"input", "inputs", "for-each", "output"}


@pytest.mark.parametrize(("key", "text", "good"), CASES)
def test_reader_and_schema_agree_on_a_value(key: str, text: str, good: bool, tmp_path: Path) -> None:
    head = HEAD.replace("wasi = true\n", "") if key == "wasi" else HEAD
    both(f"{head}{key} = {text}\n", good, tmp_path)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (HEAD, True),
        ('[defaults]\nlayout = "small"\n' + HEAD, True),
        ("", True),
        ('[snapshots.a]\ninputs = "*.wasm"\noutput = "x"\n', True),
        ('[snapshots.a]\nfor-each = "*"\ninput = "a"\noutput = "x"\n', True),
        ('[snapshots.a]\nfor-each = "*"\noutput = "x"\n', False),
        ('[snapshots.a]\ninputs = "*"\ninput = "a"\noutput = "x"\n', False),
        ('[snapshots.a]\ninputs = "*"\nfor-each = "a"\noutput = "x"\n', False),
        ('[defaults]\noutput = "x"\n', False),
        ("defaults = 1\n", False),
    ],
)
def test_reader_and_schema_agree_on_a_file(text: str, good: bool, tmp_path: Path) -> None:
    both(text, good, tmp_path)


@pytest.mark.parametrize("text", [text for text, _, _ in WRONG if "args" not in text and is_toml(text)])
def test_what_the_reader_refuses_the_schema_refuses(text: str, tmp_path: Path) -> None:
    both(text, False, tmp_path)


def both(text: str, good: bool, folder: Path) -> None:
    """Check that reader and schema take a file, or that both refuse it."""
    path = folder / "wizer.toml"
    path.write_text(text)
    try:
        config.read(path)
        read = True
    except config.ConfigError:
        read = False
    validator = jsonschema.Draft202012Validator(schema())
    assert (read, validator.is_valid(tomllib.loads(text))) == (good, good)


def test_the_file_for_editors_is_what_the_table_makes() -> None:
    """`wizer build --schema > src/wizer/batch/wizer.schema.json` writes it."""
    text = resources.files("wizer.batch").joinpath("wizer.schema.json").read_text("utf-8")
    assert json.loads(text) == schema()
    jsonschema.Draft202012Validator.check_schema(schema())


def test_the_reference_has_every_key() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "wizer-toml.md"
    rows = [line for line in page.read_text("utf-8").splitlines() if line.startswith("| `")]
    assert rows == [f"| `{key.name}` | {key.about}{' *' if key.pattern else ''} |" for key in keys.KEYS]
