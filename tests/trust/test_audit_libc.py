"""What C programs read while they initialise is named: files by both paths, and standard input."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

import wizer
from include.test_wizer_h import compile_program
from support.compiled import needs_tools

pytestmark = needs_tools

_PROGRAM: Final = r"""
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>
#include <wizer.h>
static char kept[64], typed[64];
static void load(void) { %s }
WIZER_INIT(load)
int main(void) { printf("%%s%%s", kept, typed); return 0; }
"""
_LINE: Final = 'FILE *f = fopen("/s/key.txt", "r"); if (!f) exit(1); fgets(kept, 64, f); fclose(f);'
_TYPED: Final = "fgets(typed, 64, stdin);"

READS: Final = {
    "a line": (_LINE, ("files",)),
    "without stdio": ('int f = open("/s/key.txt", O_RDONLY); read(f, kept, 63); close(f);', ("files",)),
    "in capitals": (f"{_LINE} for (char *p = kept; *p; p++) *p = toupper(*p);", ("files",)),
    "a line, and what is typed": (_LINE + _TYPED, ("files", "stdin")),
    "what is typed": (_TYPED, ("stdin",)),
    "what is typed, without stdio": ("read(0, typed, 63);", ("stdin",)),
}


@pytest.fixture
def machine(tmp_path: Path) -> wizer.Wasi:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key.txt").write_text("hunter2 is no password\n")
    return wizer.Wasi(mapdirs={"/s": tmp_path / "secret"}, stdin=b"typed in secret\n", stdout="null")


@pytest.mark.parametrize("what", READS)
def test_what_is_read_and_kept_is_named(what: str, machine: wizer.Wasi, tmp_path: Path) -> None:
    body, sources = READS[what]
    program = compile_program(_PROGRAM % body, tmp_path / "program.wasm")
    found = wizer.audit(program, wasi=machine)
    assert set(sources) <= set(found.frozen()) <= {*sources, "terminal"}
    origins = {"files": f"/s/key.txt (host: {tmp_path / 'secret' / 'key.txt'})", "stdin": "standard input"}
    assert {f.origin for f in found.findings if f.origin} == {origins[source] for source in sources}
    assert found.read == ()


def test_what_is_read_and_not_kept_is_listed(machine: wizer.Wasi, tmp_path: Path) -> None:
    body = 'int f = open("/s/key.txt", O_RDONLY); read(f, kept, 63); close(f); memset(kept, 0, 64);'
    program = compile_program(_PROGRAM % body, tmp_path / "program.wasm")
    found = wizer.audit(program, wasi=machine)
    assert found.frozen() == ()
    assert found.read == (f"/s/key.txt (host: {tmp_path / 'secret' / 'key.txt'})",)
