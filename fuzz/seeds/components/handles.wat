;; A resource of the component's own, whose handles stay open.
(component
  (type $r (resource (rep i32)))
  (core func $new (canon resource.new $r))
  (core func $drop (canon resource.drop $r))
  (core func $rep (canon resource.rep $r))
  (core module $m
    (import "" "new" (func $new (param i32) (result i32)))
    (import "" "drop" (func $drop (param i32)))
    (import "" "rep" (func $rep (param i32) (result i32)))
    (global $last (mut i32) (i32.const 0))
    (func (export "open") (param i32) (result i32)
      (global.set $last (call $new (local.get 0)))
      (global.get $last))
    (func (export "look") (result i32) (call $rep (global.get $last)))
    (func (export "close") (call $drop (global.get $last))))
  (core instance $i (instantiate $m (with "" (instance
    (export "new" (func $new)) (export "drop" (func $drop)) (export "rep" (func $rep))))))
  (func (export "open") (param "n" u32) (result u32) (canon lift (core func $i "open")))
  (func (export "look") (result u32) (canon lift (core func $i "look")))
  (func (export "close") (canon lift (core func $i "close"))))
