(module
  (memory $a (export "a") 1)
  (memory $b (export "b") 1)
  (data $b (i32.const 7) "xyz")
  (func (export "wizer-initialize") (i32.store $b (i32.const 4000) (i32.const 2))))
