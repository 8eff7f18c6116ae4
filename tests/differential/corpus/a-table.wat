(module
  (table (export "table") 4 funcref)
  (elem (i32.const 1) $one $two)
  (func $one (result i32) (i32.const 1))
  (func $two (result i32) (global.get $g))
  (global $g (mut i32) (i32.const 2))
  (func (export "call") (param i32) (result i32) (call_indirect (result i32) (local.get 0)))
  (func (export "wizer-initialize") (global.set $g (i32.const 44))))
