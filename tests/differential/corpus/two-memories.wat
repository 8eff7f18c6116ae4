(module
  (memory $a (export "a") 1)
  (memory $b (export "b") 1)
  (func (export "wizer-initialize") (i32.store $a (i32.const 4) (i32.const 1)) (i32.store $b
      (i32.const 4) (i32.const 2))(i32.store $b (i32.const 65532) (i32.const 2)) (drop (memory.grow $a
      (i32.const 1)))))
