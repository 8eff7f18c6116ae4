(module
  (global $a i32 (i32.const 5))
  (global $b (export "b") (mut i32) (global.get $a))
  (func (export "wizer-initialize") (global.set $b (i32.add (global.get $b) (i32.const 1)))))
