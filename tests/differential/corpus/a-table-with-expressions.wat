(module
  (table (export "table") 3 funcref)
  (elem (table 0) (i32.const 0) funcref (ref.func $f) (ref.null func))
  (func $f (result i32) (i32.const 9))
  (func (export "wizer-initialize") ))
