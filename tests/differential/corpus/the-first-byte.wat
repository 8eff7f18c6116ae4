(module
  (memory (export "memory") 2)
  (func (export "peek") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "size") (result i32) (memory.size))
  (func (export "grow") (param i32) (result i32) (memory.grow (i32.and (local.get 0) (i32.const 1))))
  (func (export "wizer-initialize") (i32.store8 (i32.const 0) (i32.const 1))))
