(module
  (global $a (export "a") (mut i32) (i32.const 0))
  (global $b (export "b") (mut i64) (i64.const 0))
  (global $c (export "c") (mut f32) (f32.const 0))
  (global $d (export "d") (mut f64) (f64.const 0))
  (global (export "e") i32 (i32.const 9))
  (global $f (mut i32) (i32.const 3))
  (global $h i32 (i32.const 77))
  (func (export "get f") (result i32) (i32.add (global.get $f) (global.get $h)))
  (func (export "wizer-initialize") (global.set $a (i32.const -1)) (global.set $b (i64.const
      0x7fffffffffffffff))(global.set $c (f32.const -0x1.8p-140)) (global.set $d (f64.const inf))
      (global.set $f (i32.const 64))))
