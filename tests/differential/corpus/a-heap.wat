(module
  (memory (export "memory") 2)
  (func (export "peek") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "size") (result i32) (memory.size))
  (func (export "grow") (param i32) (result i32) (memory.grow (i32.and (local.get 0) (i32.const 1))))
  (func (export "wizer-initialize") (local i32 i32) (local.set 1 (i32.const 12345)) (loop $l
      (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const 1103515245)) (i32.const 12345)))
      (i32.store8 (i32.and (i32.shr_u (local.get 1) (i32.const 9)) (i32.const 0x1ffff)) (local.get 1))
      (br_if $l (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 6000))))))
