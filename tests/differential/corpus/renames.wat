(module
  (global $g (mut i32) (i32.const 1))
  (memory (export "memory") 1)
  (func (export "resume") (result i32) (global.get $g))
  (func (export "_start") (result i32) (i32.const 5))
  (func (export "second") (param i32) (global.set $g (local.get 0)))
  (func (export "wizer-initialize") (global.set $g (i32.const 77)) (i32.store (i32.const 100)
      (i32.const -1))))
