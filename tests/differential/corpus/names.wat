(module $m
  (memory $mem (export "memory") 1)
  (global $counter (export "g") (mut i32) (i32.const 1))
  (func $init (export "wizer-initialize") (local $x i32) (local.set $x (i32.const 3)) (global.set
      $counter (local.get $x)) (i32.store (i32.const 9) (local.get $x))))
