(module
  (global $g (export "g") (mut i32) (i32.const 1))
  (func (export "_initialize") (global.set $g (i32.mul (global.get $g) (i32.const 7))))
  (func (export "wizer-initialize") (global.set $g (i32.add (global.get $g) (i32.const 1)))))
