"""The demonstration, and QuickJS, which it freezes."""

from __future__ import annotations

import re

import pytest

from support.command import wizer
from wizer import OptionError, Session, Wasi, WizerError
from wizer.demo import quickjs


def test_demo() -> None:
    run = wizer("demo", "slice with a negative step")
    assert run.returncode == 0, run.stderr
    said = run.stdout.decode()
    assert "slice with a negative step" in said
    assert "slicings" in said
    assert re.search(r"first answer .* ms .* ms", said)


def test_quickjs_reports_exceptions_and_runs_promise_jobs() -> None:
    with Session(quickjs.load(), wasi=Wasi()) as session:
        javascript = quickjs.QuickJS(session)
        javascript.boot()
        javascript.define("text", "h\u00e9\0\u2603")
        assert javascript.evaluate("text") == "h\u00e9\0\u2603"
        with pytest.raises(WizerError, match="JavaScript: TypeError: not today"):
            javascript.evaluate("throw new TypeError('not today')")
        javascript.evaluate("Promise.resolve(3).then((value) => { globalThis.later = value })")
        assert javascript.evaluate("later") == "3"


def test_expose_names_the_function_that_is_missing() -> None:
    with pytest.raises(OptionError, match="no function is named JS_Nothing"):
        quickjs.expose(quickjs.load(), ["JS_Eval", "JS_Nothing"])
