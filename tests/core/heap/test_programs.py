"""Programs as compilers make them: closures, tables of methods, strings as arrays, a map of them."""

from __future__ import annotations

import pytest

from support.guest import survives

PROGRAM = """(module
  (type $string (array (mut i16)))
  (rec
    (type $code (func (param (ref $closure)) (result i32)))
    (type $closure (sub (struct (field $code (ref $code))))))
  (type $counter (sub $closure (struct (field (ref $code)) (field $n (mut i32)))))
  (rec
    (type $method (func (param (ref $object)) (result i32)))
    (type $methods (struct (field $area (ref $method))))
    (type $object (sub (struct (field $methods (ref $methods)))))
    (type $square (sub $object (struct (field (ref $methods)) (field $side i32))))
    (type $box (sub $object (struct (field (ref $methods)) (field $w i32) (field $h f64)))))
  (type $entry (struct (field $key (ref $string)) (field $value (ref $object))
    (field $next (mut (ref null $entry)))))
  (type $buckets (array (mut (ref null $entry))))
  (type $map (struct (field $buckets (mut (ref $buckets))) (field $size (mut i32))))
  (global $square.methods (ref $methods) (struct.new $methods (ref.func $square.area)))
  (global $box.methods (ref $methods) (struct.new $methods (ref.func $box.area)))
  (global $map (ref $map) (struct.new $map (array.new_default $buckets (i32.const 16)) (i32.const 0)))
  (global $counter (mut (ref null $closure)) (ref.null $closure))
  (elem declare func $next)
  (func $next (type $code) (local $own (ref $counter))
    (local.set $own (ref.cast (ref $counter) (local.get 0)))
    (struct.set $counter $n (local.get $own)
      (i32.add (struct.get $counter $n (local.get $own)) (i32.const 1)))
    (struct.get $counter $n (local.get $own)))
  (func $square.area (type $method) (local $side i32)
    (local.set $side (struct.get $square $side (ref.cast (ref $square) (local.get 0))))
    (i32.mul (local.get $side) (local.get $side)))
  (func $box.area (type $method) (local $box (ref $box))
    (local.set $box (ref.cast (ref $box) (local.get 0)))
    (i32.mul (struct.get $box $w (local.get $box))
      (i32.trunc_f64_s (struct.get $box $h (local.get $box)))))
  (func $name (param $i i32) (result (ref $string)) (local $new (ref $string))
    (local.set $new (array.new $string (i32.const 0x6e) (i32.const 5)))
    (array.set $string (local.get $new) (i32.const 3) (i32.and (local.get $i) (i32.const 255)))
    (array.set $string (local.get $new) (i32.const 4) (i32.shr_u (local.get $i) (i32.const 8)))
    (local.get $new))
  (func $hash (param $name (ref $string)) (result i32) (local $i i32) (local $hash i32)
    (loop $next
      (local.set $hash (i32.add (i32.mul (local.get $hash) (i32.const 31))
        (array.get_u $string (local.get $name) (local.get $i))))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
        (array.len (local.get $name)))))
    (local.get $hash))
  (func $put (param $name (ref $string)) (param $value (ref $object))
    (local $buckets (ref $buckets)) (local $at i32)
    (local.set $buckets (struct.get $map $buckets (global.get $map)))
    (local.set $at (i32.rem_u (call $hash (local.get $name)) (array.len (local.get $buckets))))
    (array.set $buckets (local.get $buckets) (local.get $at)
      (struct.new $entry (local.get $name) (local.get $value)
        (array.get $buckets (local.get $buckets) (local.get $at))))
    (struct.set $map $size (global.get $map)
      (i32.add (struct.get $map $size (global.get $map)) (i32.const 1))))
  (func $made (param $i i32) (result (ref $object))
    (if (result (ref $object)) (i32.and (local.get $i) (i32.const 1))
      (then (struct.new $square (global.get $square.methods) (local.get $i)))
      (else (struct.new $box (global.get $box.methods) (local.get $i)
        (f64.convert_i32_s (i32.const 3))))))
  (func (export "init") (local $i i32)
    (global.set $counter (struct.new $counter (ref.func $next) (i32.const 41)))
    (loop $next
      (call $put (call $name (local.get $i)) (call $made (local.get $i)))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
        (i32.const {objects})))))
  (func (export "count") (result i32) (local $closure (ref null $closure))
    (local.set $closure (global.get $counter))
    (call_ref $code (ref.as_non_null (local.get $closure))
      (struct.get $closure $code (local.get $closure))))
  (func (export "size") (result i32) (struct.get $map $size (global.get $map)))
  (func (export "sum") (result i32)
    (local $i i32) (local $sum i32) (local $entry (ref null $entry)) (local $value (ref null $object))
    (loop $bucket
      (local.set $entry
        (array.get $buckets (struct.get $map $buckets (global.get $map)) (local.get $i)))
      (block $end (loop $list
        (br_if $end (ref.is_null (local.get $entry)))
        (local.set $value (struct.get $entry $value (local.get $entry)))
        (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31)) (i32.add
          (call $hash (struct.get $entry $key (local.get $entry)))
          (call_ref $method (ref.as_non_null (local.get $value))
            (struct.get $methods $area (struct.get $object $methods (local.get $value)))))))
        (local.set $entry (struct.get $entry $next (local.get $entry)))
        (br $list)))
      (br_if $bucket (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 16))))
    (local.get $sum)))"""


@pytest.mark.parametrize("objects", [10, 3000])
def test_a_map_of_strings_to_objects_with_methods_and_a_closure(objects: int) -> None:
    """Few objects are constants, many are made by the start function; immutable globals hold some of both."""
    survives(PROGRAM.replace("{objects}", str(objects)), "size", "sum", "count", "count")
