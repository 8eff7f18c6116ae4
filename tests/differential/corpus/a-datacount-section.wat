(module
  (memory (export "memory") 2)
  (func (export "peek") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "size") (result i32) (memory.size))
  (func (export "grow") (param i32) (result i32) (memory.grow (i32.and (local.get 0) (i32.const 1))))
  (data $p "passive")
  (data (i32.const 16) "active")
  (func (export "again") (memory.init $p (i32.const 0) (i32.const 0) (i32.const 7)))
  (func (export "wizer-initialize") (memory.init $p (i32.const 100) (i32.const 1) (i32.const 4))))
