(module
  (import "env" "f" (func $f (param i32) (result i32)))
  (import "env" "g" (func))
  (global $g (export "g") (mut i32) (i32.const 1))
  (func (export "later") (result i32) (call $f (i32.const 1)))
  (func (export "wizer-initialize") (global.set $g (i32.const 5))))
