"""Finding ``ref.func`` in bodies: every instruction of the text format is passed over whole."""

from __future__ import annotations

import pytest

from support.engine import binary
from wizer.binary.instructions import referring
from wizer.binary.module import parse_module


def refers(body: str, *, extra: str = "", funcs: set[int] | None = None) -> set[int]:
    """The functions that a body refers to."""
    wat = f"""(module (type $t (func)) (type $s (struct (field (mut i32)))) (type $a (array (mut i32)))
        (type $v (func (param i32) (result i32))) (type $r (array (mut funcref))) (type $k (cont $t))
        (func $f) (func $g) (memory $m 1 1 shared) (memory $n i64 1) (table $tab 1 funcref) (tag $tag
          (param i32))
        (tag $e)
        (global $glob (mut i32) (i32.const 0)) (elem declare func $f $g) (elem $p func $f) (data $d "x")
        {extra}
        (func (local $i i32) (local $x (ref null $s)) (local $ar (ref null $a)) (local $ex exnref)
          {body}))"""
    return set(referring(parse_module(binary(wat)), funcs if funcs is not None else {0, 1}))


# An opcode 0xD2 or an index that looks like one may sit in any immediate: after each of these stands
# `ref.func $g`, which is found only if the instruction before it was passed over whole.
INSTRUCTIONS = [
    "(i32.const 0x52)",
    "(i32.const -46)",
    "(i64.const 0x5252525252525252)",
    "(f32.const nan:0x5200d2)",
    "(f64.const nan:0xd200d200d200d)",
    "(v128.const i32x4 0x00d200d2 0xd2d2d2d2 0x00d200d2 0)",
    "(i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 (v128.const i64x2 0 0) (v128.const i64x2 0 0))",
    "(block (result i32) (i32.const 1))",
    "(block (type $t))",
    "(loop (param) (br_if 0 (i32.const 0)))",
    "(if (result v128) (i32.const 1) (then (v128.const i64x2 0 0)) (else (v128.const i64x2 0 0)))",
    "(block (block (br_table 0 1 0 1 (i32.const 0))))",
    "(block (try_table (catch $e 0) (catch_all 0)))",
    "(block (result exnref) (try_table (catch_all_ref 0)) (ref.null exn))",
    "(block (result i32 exnref) (try_table (catch_ref $tag 0)) (i32.const 0) (ref.null exn))",
    "(call $f)",
    "(call_indirect $tab (type $t) (i32.const 0))",
    "(call_ref $t (ref.null $t))",
    "(select (result i32) (i32.const 1) (i32.const 2) (i32.const 3))",
    "(select (result (ref null $s)) (local.get $x) (local.get $x) (i32.const 3))",
    "(local.get $i)",
    "(local.set $i (local.tee $i (i32.const 5)))",
    "(global.set $glob (global.get $glob))",
    "(table.set $tab (i32.const 0) (table.get $tab (i32.const 0)))",
    "(i32.load offset=82 align=1 (i32.const 0))",
    "(i32.load $n offset=0xd20000d2 (i64.const 0))",
    "(i64.store32 $n offset=0xffffffffff (i64.const 0) (i64.const 0))",
    "(memory.size $n)",
    "(memory.grow $n (i64.const 0))",
    "(memory.init $n $d (i64.const 0) (i32.const 0) (i32.const 0))",
    "(data.drop $d)",
    "(memory.copy $m $m (i32.const 0) (i32.const 0) (i32.const 0))",
    "(memory.fill $n (i64.const 0) (i32.const 0) (i64.const 0))",
    "(table.init $tab $p (i32.const 0) (i32.const 0) (i32.const 0))",
    "(elem.drop $p)",
    "(table.copy $tab $tab (i32.const 0) (i32.const 0) (i32.const 0))",
    "(table.grow $tab (ref.null func) (i32.const 0))",
    "(table.size $tab)",
    "(table.fill $tab (i32.const 0) (ref.null func) (i32.const 0))",
    "(i32.trunc_sat_f64_s (f64.const 0))",
    "(i64.add128 (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0))",
    "(ref.null $s)",
    "(ref.is_null (ref.null any))",
    "(ref.eq (ref.null eq) (ref.null eq))",
    "(block (br_on_null 0 (local.get $x)) (drop))",
    "(block (result (ref $s)) (br_on_non_null 0 (local.get $x)) (unreachable))",
    "(struct.new $s (i32.const 0))",
    "(struct.new_default $s)",
    "(struct.get $s 0 (local.get $x))",
    "(struct.set $s 0 (local.get $x) (i32.const 0))",
    "(array.new $a (i32.const 0) (i32.const 0))",
    "(array.new_default $a (i32.const 0))",
    "(array.new_fixed $a 2 (i32.const 0) (i32.const 0))",
    "(array.new_data $a $d (i32.const 0) (i32.const 0))",
    "(array.new_elem $r $p (i32.const 0) (i32.const 0))",
    "(array.get $a (local.get $ar) (i32.const 0))",
    "(array.set $a (local.get $ar) (i32.const 0) (i32.const 0))",
    "(array.len (local.get $ar))",
    "(array.fill $a (local.get $ar) (i32.const 0) (i32.const 0) (i32.const 0))",
    "(array.copy $a $a (local.get $ar) (i32.const 0) (local.get $ar) (i32.const 0) (i32.const 0))",
    "(array.init_data $a $d (local.get $ar) (i32.const 0) (i32.const 0) (i32.const 0))",
    "(array.init_elem $r $p (ref.null $r) (i32.const 0) (i32.const 0) (i32.const 0))",
    "(ref.test (ref $s) (local.get $x))",
    "(ref.test (ref null struct) (local.get $x))",
    "(ref.cast (ref $s) (local.get $x))",
    "(ref.cast (ref null none) (local.get $x))",
    "(block (result (ref $s)) (br_on_cast 0 (ref null $s) (ref $s) (local.get $x)) (unreachable))",
    "(block (result (ref null $s)) (br_on_cast_fail 0 (ref null $s) (ref $s) (local.get $x)))",
    "(extern.convert_any (any.convert_extern (ref.null extern)))",
    "(i31.get_u (ref.i31 (i32.const 0)))",
    "(i31.get_s (ref.i31 (i32.const 0)))",
    "(ref.as_non_null (local.get $x))",
    "(v128.load8_splat offset=82 (i32.const 0))",
    "(v128.load64_zero offset=82 (i32.const 0))",
    "(v128.load8_lane offset=82 5 (i32.const 0) (v128.const i64x2 0 0))",
    "(v128.store64_lane offset=82 1 (i32.const 0) (v128.const i64x2 0 0))",
    "(i8x16.extract_lane_u 15 (v128.const i64x2 0 0))",
    "(f64x2.replace_lane 1 (v128.const i64x2 0 0) (f64.const 0))",
    "(i8x16.swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0))",
    "(i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0))",
    "(i32x4.add (v128.const i64x2 0 0) (v128.const i64x2 0 0))",
    "(atomic.fence)",
    "(memory.atomic.notify offset=82 (i32.const 0) (i32.const 0))",
    "(i64.atomic.rmw32.cmpxchg_u offset=84 (i32.const 0) (i64.const 0) (i64.const 0))",
    "(i32.atomic.store8 offset=82 (i32.const 0) (i32.const 0))",
    "(memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const 0))",
    "(i64.extend32_s (i64.const 0))",
    "(block (throw $tag (i32.const 0)))",
    "(block (throw_ref (local.get $ex)))",
    "(block (return_call $f))",
    "(block (return_call_indirect $tab (type $t) (i32.const 0)))",
    "(block (return_call_ref $t (ref.null $t)))",
    "(cont.new $k (ref.null $t))",
    "(suspend $e)",
    "(resume $k (ref.null $k))",
    "(nop)",
]


@pytest.mark.parametrize("instruction", INSTRUCTIONS)
def test_what_follows_an_instruction_is_found(instruction: str) -> None:
    assert refers(f"(block {instruction} (unreachable)) (drop (ref.func $g))") == {1}


@pytest.mark.parametrize("instruction", INSTRUCTIONS)
def test_no_immediate_is_taken_for_a_reference(instruction: str) -> None:
    # Bytes 0xD2 0x01 in a constant make the byte search look into the body.
    assert refers(f"(drop (f32.const nan:0x01d201)) (block {instruction} (unreachable))") == set()


def test_only_the_functions_asked_for() -> None:
    body = "(drop (ref.func $f)) (drop (ref.func $g))"
    assert refers(body) == {0, 1}
    assert refers(body, funcs={1}) == {1}
    assert refers(body, funcs=set()) == set()


def test_references_in_several_bodies() -> None:
    extra = "(func (drop (ref.func $f))) (func) (func (param f64) (drop (ref.func $f)))"
    assert refers("(drop (ref.func $g))", extra=extra) == {0, 1}


def test_indices_of_several_bytes_in_any_encoding() -> None:
    functions = "(func)" * 300
    wasm = binary(f"(module {functions} (elem declare func 200) (func (drop (ref.func 200))))")
    assert referring(parse_module(wasm), {200, 5}) == {200}
    padded = b"\x00\xd2\xc8\x81\x80\x00\x1a\x0b"  # no locals, ref.func 200 in four bytes, drop
    short = b"\x00\xd2\xc8\x01\x1a\x0b"
    section = parse_module(wasm).section(10)
    assert section is not None
    at = wasm.index(bytes((len(short),)) + short, section.start)
    body = bytes((len(padded),)) + padded
    code = wasm[section.start : at] + body
    header = bytes((10, len(code) & 0x7F | 0x80, len(code) >> 7))
    rebuilt = wasm[: section.start - 3] + header + code + wasm[section.end :]
    assert referring(parse_module(rebuilt), {200, 5}) == {200}
