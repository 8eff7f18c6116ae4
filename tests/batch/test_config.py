"""The file that names snapshots: what is wrong with it is said with its line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from wizer import OptionError
from wizer.batch import config, plan

WRONG = [
    ("[snapshots.a]\ninput = 1\n", 2, "snapshots.a.input: expected a string, not 1"),
    ('[snapshots.a]\ninput = "a"\n', 1, "snapshots.a: there is no `output`"),
    (
        '[snapshots.a]\noutput = "a"\n',
        1,
        "snapshots.a: expected `input`, `inputs`, or `for-each` with `input`",
    ),
    (
        '[snapshots.a]\n\n# x\nimput = "a"\n',
        4,
        "snapshots.a.imput: there is no such key; did you mean `input`?",
    ),
    ('[snapshot.a]\ninput = "a"\n', 1, "snapshot: there is no such table; known are defaults, snapshots"),
    ("[snapshots.a]\ninput = \n", 2, "Invalid value (at line 2, column 9)"),
    ('[defaults]\ninput = "a"\n', 2, "defaults.input: it has to be each snapshot's own"),
    (
        '[snapshots."a b"]\ntimeout = "soon"\n',
        2,
        'snapshots.a b.timeout: expected a length of time: "1.5s", "10m"',
    ),
    ("[snapshots]\na = { timout = 1 }\n", 2, "snapshots.a.timout: there is no such key"),
    ('[snapshots.a]\ninput = "a"\noutput = "b"\nargs = ["x"]\n', 4, "it has no effect without `wasi = true`"),
    (f"x = {'[' * 100_000}", None, "recursion"),
    (f"x = {'9' * 10_000}", None, "digits"),
    (
        '[snapshots.a]\ninput = "a"\noutput = "b\\u0000"\n',
        3,
        "snapshots.a.output: expected a string without NUL",
    ),
    ('[snapshots.a]\nlayout = "tiny"\n', 2, "expected one of balanced, small, instant, not 'tiny'"),
]


@pytest.mark.parametrize(("text", "line", "message"), WRONG)
def test_what_is_wrong_is_named(text: str, line: int | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "wizer.toml"
    path.write_text(text)
    with pytest.raises(config.ConfigError) as caught:
        config.read(path)
    assert message in caught.value.message
    assert caught.value.line == line


def test_a_line_that_only_looks_like_the_key_is_not_named() -> None:
    text = '[snapshots.a]\nenv = { x = """\ninput = 3\n""" }\ninput = 1\n'
    assert config.line_of(text, ("snapshots", "a", "input")) is None


def test_defaults_hold_where_nothing_else_is_said(tmp_path: Path) -> None:
    path = tmp_path / "wizer.toml"
    path.write_text(
        '[defaults]\nlayout = "small"\n[snapshots.a]\ninput = "a"\noutput = "x"\n'
        '[snapshots.b]\ninput = "b"\noutput = "y"\nlayout = "instant"\n'
    )
    jobs = plan.jobs(config.read(path), tmp_path)
    assert [job.wizer.options.layout for job in jobs] == ["small", "instant"]


def test_a_thousand_tenants_of_one_engine_are_one_table(tmp_path: Path) -> None:
    for name in ("acme", "umbrella"):
        (tmp_path / "tenants" / name).mkdir(parents=True)
    path = tmp_path / "wizer.toml"
    path.write_text(
        '[snapshots.tenants]\nfor-each = "tenants/*"\ninput = "engine.wasm"\noutput = "out/{stem}.wasm"\n'
        'init = "boot(\\"{stem}\\", {limit: 3})"\nwasi = true\ndirs = { "/app" = "{path}" }\n'
        'args = ["{name}"]\n'
        'timeout = "2s"\nmax-memory = "64MiB"\n'
    )
    acme, umbrella = plan.jobs(config.read(path), tmp_path)
    assert (acme.name, acme.input, acme.output) == (
        "tenants[tenants/acme]",
        tmp_path / "engine.wasm",
        tmp_path / "out/acme.wasm",
    )
    options = umbrella.wizer.options
    assert options.init_func == 'boot("umbrella", {limit: 3})'
    assert options.wasi is not None
    assert options.wasi.mapdirs == {"/app": tmp_path / "tenants/umbrella"}
    assert options.wasi.args == ("main.wasm", "umbrella")
    assert (options.bounds.timeout, options.bounds.max_memory) == (2.0, 64 << 20)


def test_a_pattern_that_matches_nothing_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "wizer.toml"
    path.write_text('[snapshots.a]\ninputs = "*.wasm"\noutput = "{stem}"\n')
    with pytest.raises(OptionError, match=r"\[snapshots.a\]: nothing matches `\*.wasm`"):
        plan.jobs(config.read(path), tmp_path)


@pytest.mark.parametrize("pattern", ["", ".", "a**b/[", "x" * 300, "nothing*"])
def test_a_pattern_that_matches_nothing_is_named(pattern: str, tmp_path: Path) -> None:
    path = tmp_path / "wizer.toml"
    path.write_text(f'[snapshots.a]\ninputs = "{pattern}"\noutput = "{{stem}}.wasm"\n')
    with pytest.raises(OptionError, match="nothing"):
        plan.jobs(config.read(path), tmp_path)


@pytest.mark.parametrize(
    ("inputs", "output", "is_input"),
    [
        ("**/*.wasm", "out/{stem}.wasm", True),
        ("*/*.wasm", "out/{stem}.wasm", True),
        ("in/*.wasm", "in/../in/{stem}.frozen.wasm", True),
        ("in/**/*.wasm", "in/a/b/{stem}.wasm", True),
        ("in/*.wasm", "in/out/{stem}.wasm", False),
        ("in/*.wasm", "out/{stem}.wasm", False),
        ("**/app.wasm", "out/{parent}.wasm", False),
        ("in/*.wasm", "../in/{stem}.wasm", False),
    ],
)
def test_outputs_are_no_inputs_of_the_next_build(
    inputs: str, output: str, is_input: bool, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "app.wasm").touch()
    path = tmp_path / "wizer.toml"
    path.write_text(f'[snapshots.a]\ninputs = "{inputs}"\noutput = "{output}"\n')
    if not is_input:
        assert len(plan.jobs(config.read(path), tmp_path)) == 1
        return
    with pytest.raises(
        OptionError, match=r"\[snapshots.a\]: its output `.*app.* would be an input of the next"
    ):
        plan.jobs(config.read(path), tmp_path)
