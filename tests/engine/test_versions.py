"""The versions of the engine: what each has, what one is said to lack, and one that nobody has seen yet."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import wasmtime

from support.command import environment
from support.engine import binary
from wizer import WizerError, wizen
from wizer.engine.config import FEATURES
from wizer.engine.versions import NEWEST, OLDEST, installed, major, not_in_winch

NOT_ON_ANY = {"relaxed-simd", "tail-call", "function-references", "gc", "exceptions"}


def test_the_installed_version_is_among_those_that_are_tested() -> None:
    assert installed() == version("wasmtime")
    assert OLDEST <= major() <= NEWEST


def test_the_package_and_ci_name_the_same_versions() -> None:
    root = Path(__file__).parents[2]
    assert f'"wasmtime>={OLDEST}"' in (root / "pyproject.toml").read_text("utf-8")
    tried = re.findall(r"wasmtime==(\d+)", (root / ".ci" / "run").read_text("utf-8"))
    assert sorted([*map(int, tried), NEWEST]) == [*range(OLDEST, NEWEST + 1)]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "arm64"])
@pytest.mark.parametrize("number", range(OLDEST, NEWEST + 1))
def test_what_winch_does_without_on_each_machine(machine: str, number: int) -> None:
    off = not_in_winch(machine, number)
    assert off <= FEATURES.keys()
    assert off - NOT_ON_ANY == {
        *(["threads", "shared-memory"] if machine != "x86_64" else []),
        *(["gc-support"] if number == 48 else []),
    }


@pytest.mark.skipif(major() != 48, reason="wasmtime 48 ends the process on very many data segments")
def test_more_data_segments_than_48_compiles() -> None:
    wasm = binary(f"""(module (memory 1) {'(data (i32.const 0) "a")' * 32_001})""")
    with pytest.raises(WizerError, match=r"32001 active data segments, and wasmtime 48.* no more than 32000"):
        wizen(wasm, init_func=None)


# A version that nobody has seen yet: this one with another number, and without something that it has.

PROGRAM = """
import warnings
import wizer
from wizer import EngineConfig, WizerError

caught = []
warnings.showwarning = lambda message, *rest: caught.append(str(message))
warnings.simplefilter("always")
def run(wat='(module (memory (export "m") 1) (func (export "wizer-initialize")))', **settings):
    try:
        return len(wizer.wizen(wat, engine=EngineConfig(cache=False, **settings))) > 0
    except WizerError as error:
        return str(error)
"""


def said(folder: Path, number: str, program: str, without: str = "") -> str:
    """Return what a program prints on an engine of such a number, without a function of the C API."""
    package = folder / "wasmtime"
    package.mkdir()
    (folder / f"wasmtime-{number}.dist-info").mkdir()
    for path in Path(wasmtime.__file__).parent.iterdir():
        if path.suffix == ".py":
            text = path.read_text("utf-8")
            if path.name == "_bindings.py" and without:
                text, found = re.subn(rf"^def {without}\(", f"def gone_{without}(", text, flags=re.MULTILINE)
                assert found == 1
            (package / path.name).write_text(text, "utf-8")
        elif path.name != "__pycache__":  # what is compiled of one's copy is not another's
            (package / path.name).symlink_to(path)
    env = environment()
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM + program],
        capture_output=True,
        text=True,
        env={**env, "PYTHONPATH": f"{folder}:{env['PYTHONPATH']}"},
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


newest = pytest.mark.skipif(major() < NEWEST, reason=f"only wasmtime {NEWEST} passes for a newer one")


@newest
def test_a_newer_version_is_warned_of_once(tmp_path: Path) -> None:
    assert said(tmp_path, "99.1.0", "print(run(), run(), caught)") == (
        f"True True ['wasmtime 99.1.0 is newer than {NEWEST}, the newest that this package is tested with']\n"
    )


def test_an_older_version_is_refused(tmp_path: Path) -> None:
    assert said(tmp_path, "47.0.1", "print(run())") == (
        f"wasmtime 47.0.1 is too old: {OLDEST} and newer work; `pip install 'wasmtime>={OLDEST}'`\n"
    )


@newest
@pytest.mark.parametrize("symbol", ["wasmtime_func_call_unchecked", "wasmtime_component_func_call"])
def test_a_function_that_is_gone_is_named_at_once(tmp_path: Path, symbol: str) -> None:
    # Before the engine is made, and so before anything of the guest's runs.
    program = "print(run(compiler='cranelift'), caught)"
    said_of_it = said(tmp_path, "99.1.0", program, without=symbol)
    assert said_of_it.startswith(f"wasmtime 99.1.0 has no `{symbol}`; {OLDEST} to {NEWEST} are tested")


@newest
def test_a_feature_that_is_gone_is_missed_by_those_who_ask_for_it(tmp_path: Path) -> None:
    program = "print(run(), run(features={'gc': False}), run(features={'gc': True}))"
    assert said(tmp_path, "99.1.0", program, without="wasmtime_config_wasm_gc_set").startswith(
        "True True wasmtime 99.1.0 has no feature `gc`;"
    )


@newest
def test_a_setting_that_is_gone_is_missed_by_those_who_ask_for_it(tmp_path: Path) -> None:
    program = "print(run(), run(compiler='cranelift', debug_info=True))"
    ended = said(tmp_path, "99.1.0", program, without="wasmtime_config_debug_info_set")
    assert ended.startswith("True wasmtime 99.1.0 has no setting `debug_info`;")
