;; Finds what of a memory is not zero: `wizer.engine.scanner` copies the memory here, a window at a time, and
;; `wizer.core.segments` says what is looked for. What is where in the memory here:
;;
;;     0x00000  the sizes of headers: the offset from which on (i64), the size (i64); the last offset is -1
;;     0x00100  the parts that are in the window: offset (i64), bytes (i32), the size of headers there (i32)
;;     0x04000  by what a split at a gap gains: how many gaps there are (i32), or what they save together (i64)
;;     0x10000  the window
;;     0x60000  the ranges that were found: start (i64), end (i64)
(module
  (memory (export "memory") 16 65535)

  ;; The range that may go on; -1: there is none, and its end is as far from any offset as can be.
  (global $start (mut i64) (i64.const -1))
  (global $end (mut i64) (i64.const 0x8000000000000000))

  ;; Where the next range goes, where the last may end, and whether there were more.
  (global $free (mut i32) (i32.const 0x60000))
  (global $stop (mut i32) (i32.const 0x60000))
  (global $full (mut i32) (i32.const 0))

  ;; Of the gap that `gain` looked at: where the sizes of headers are, and what a split there saves.
  (global $header (mut i32) (i32.const 0))
  (global $saved (mut i64) (i64.const 0))

  (func $emit
    (if (i32.eq (global.get $free) (global.get $stop)) (then (global.set $full (i32.const 1)) (return)))
    (if (i32.eq (global.get $free) (i32.shl (memory.size) (i32.const 16)))
      (then
        (if (i32.eq (memory.grow (i32.const 64)) (i32.const -1))
          (then (global.set $full (i32.const 1)) (return)))))
    (i64.store (global.get $free) (global.get $start))
    (i64.store offset=8 (global.get $free) (global.get $end))
    (global.set $free (i32.add (global.get $free) (i32.const 16))))

  ;; Add bytes that are not zero: to the range that is open, where the gap is not longer than a header.
  (func $add (param $start i64) (param $end i64) (param $header i64)
    (if (i64.gt_u (i64.sub (local.get $start) (global.get $end)) (local.get $header))
      (then
        (if (i64.ne (global.get $start) (i64.const -1)) (then (call $emit)))
        (global.set $start (local.get $start))))
    (global.set $end (local.get $end)))

  ;; Forget all ranges, and have room for `most`.
  (func (export "clear") (param $most i32)
    (global.set $stop (i32.add (i32.const 0x60000) (i32.shl (local.get $most) (i32.const 4))))
    (global.set $start (i64.const -1))
    (global.set $end (i64.const 0x8000000000000000))
    (global.set $free (i32.const 0x60000))
    (global.set $full (i32.const 0)))

  ;; Look through the first parts that are in the window, `count` of them; return whether there was room.
  (func (export "scan") (param $count i32) (result i32)
    (local $part i32) (local $at i32) (local $stop i32) (local $to_offset i64) (local $header i64)
    (local $bytes v128) (local $set i32) (local $first i32) (local $last i32)
    (local.set $part (i32.const 0x100))
    (local.set $stop (i32.const 0x10000))
    (loop $parts
      (if (i32.eqz (local.get $count)) (then (return (i32.eqz (global.get $full)))))
      (local.set $at (local.get $stop))
      (local.set $stop (i32.add (local.get $at) (i32.load offset=8 (local.get $part))))
      (local.set $to_offset
        (i64.sub (i64.load (local.get $part)) (i64.extend_i32_u (local.get $at))))
      (local.set $header (i64.load32_u offset=12 (local.get $part)))
      (local.set $part (i32.add (local.get $part) (i32.const 16)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (loop $vectors
        (br_if $parts (i32.ge_u (local.get $at) (local.get $stop)))
        (local.set $bytes (v128.load (local.get $at)))
        (local.set $set
          (i32.xor (i32.const 0xffff) (i8x16.bitmask (i8x16.eq (local.get $bytes) (v128.const i64x2 0 0)))))
        (if (i32.lt_u (i32.sub (local.get $stop) (local.get $at)) (i32.const 16))
          (then ;; what follows is of the next part
            (local.set $set
              (i32.and
                (local.get $set)
                (i32.sub
                  (i32.shl (i32.const 1) (i32.sub (local.get $stop) (local.get $at)))
                  (i32.const 1))))))
        (loop $runs
          (if (local.get $set)
            (then
              (local.set $first (i32.ctz (local.get $set)))
              (local.set $last ;; the one after the run
                (i32.add
                  (local.get $first)
                  (i32.ctz (i32.xor (i32.shr_u (local.get $set) (local.get $first)) (i32.const -1)))))
              (call $add
                (i64.add
                  (i64.extend_i32_u (i32.add (local.get $at) (local.get $first)))
                  (local.get $to_offset))
                (i64.add
                  (i64.extend_i32_u (i32.add (local.get $at) (local.get $last)))
                  (local.get $to_offset))
                (local.get $header))
              (local.set $set
                (i32.and (local.get $set) (i32.shl (i32.const -1) (local.get $last))))
              (br $runs))))
        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (br $vectors)))
    unreachable)

  ;; Close the range that is open; return how many there are, or -1: there was no room for all.
  (func (export "finish") (result i32)
    (if (i64.ne (global.get $start) (i64.const -1)) (then (call $emit)))
    (global.set $start (i64.const -1))
    (if (global.get $full) (then (return (i32.const -1))))
    (i32.shr_u (i32.sub (global.get $free) (i32.const 0x60000)) (i32.const 4)))

  ;; The bytes that a length takes in LEB128.
  (func $length (param $n i64) (result i64)
    (i64.div_u
      (i64.sub (i64.const 70) (i64.clz (i64.or (local.get $n) (i64.const 1))))
      (i64.const 7)))

  ;; What a split at the gap between two ranges gains, with the length fields of both.
  (func $gain (param $before i32) (param $range i32) (result i64)
    (local $start i64) (local $end i64) (local $next i64) (local $stop i64) (local $both i64)
    (local.set $start (i64.load (local.get $before)))
    (local.set $end (i64.load offset=8 (local.get $before)))
    (local.set $next (i64.load (local.get $range)))
    (local.set $stop (i64.load offset=8 (local.get $range)))
    (local.set $both (i64.sub (local.get $stop) (local.get $start)))
    (loop $headers
      (if (i64.ge_u (local.get $next) (i64.load offset=16 (global.get $header)))
        (then
          (global.set $header (i32.add (global.get $header) (i32.const 16)))
          (br $headers))))
    (global.set $saved
      (i64.sub
        (i64.sub (local.get $next) (local.get $end))
        (i64.load offset=8 (global.get $header))))
    (i64.sub
      (global.get $saved)
      (if (result i64) (i64.lt_u (local.get $both) (i64.const 128))
        (then (i64.const 1))
        (else
          (i64.sub
            (i64.add
              (call $length (i64.sub (local.get $end) (local.get $start)))
              (call $length (i64.sub (local.get $stop) (local.get $next))))
            (call $length (local.get $both)))))))

  ;; The same of the gap before a range, as the ranges stand.
  (func $gain_before (param $range i32) (result i64)
    (call $gain (i32.sub (local.get $range) (i32.const 16)) (local.get $range)))

  ;; Put a range behind the last one that stays, or join it to that; return where the last one is then.
  (func $put (param $last i32) (param $range i32) (param $apart i32) (result i32)
    (if (local.get $apart)
      (then
        (local.set $last (i32.add (local.get $last) (i32.const 16)))
        (i64.store (local.get $last) (i64.load (local.get $range)))))
    (i64.store offset=8 (local.get $last) (i64.load offset=8 (local.get $range)))
    (local.get $last))

  ;; What splits at all gaps save together, before length fields count.
  (func (export "worth") (result i64)
    (local $range i32) (local $saved i64)
    (global.set $header (i32.const 0))
    (local.set $range (i32.const 0x60010))
    (block $end
      (loop $next
        (br_if $end (i32.ge_u (local.get $range) (global.get $free)))
        (drop (call $gain_before (local.get $range)))
        (local.set $saved (i64.add (local.get $saved) (global.get $saved)))
        (local.set $range (i32.add (local.get $range) (i32.const 16)))
        (br $next)))
    (local.get $saved))

  ;; Where gaps of the same gain are counted; all that gain more than 5,000 bytes are one.
  (func $counter (param $range i32) (result i32)
    (local $gain i64)
    (local.set $gain (i64.add (call $gain_before (local.get $range)) (i64.const 64)))
    (i32.add
      (i32.const 0x4000)
      (i32.shl
        (if (result i32) (i64.gt_u (local.get $gain) (i64.const 5064))
          (then (i32.const 5065))
          (else (i32.wrap_i64 (local.get $gain))))
        (i32.const 2))))

  ;; Join ranges until there are `most`, across the gaps that gain least, and of those that gain the same
  ;; the last. Return whether that was possible: gaps that gain very much are not told apart.
  (func (export "limit") (param $most i32) (result i32)
    (local $range i32) (local $left i32) (local $counter i32) (local $to i32)
    (local $own i32) (local $equal i32)
    (memory.fill (i32.const 0x4000) (i32.const 0) (i32.const 0x5000))
    (global.set $header (i32.const 0))
    (local.set $range (i32.const 0x60010))
    (block $counted
      (loop $next
        (br_if $counted (i32.ge_u (local.get $range) (global.get $free)))
        (local.set $counter (call $counter (local.get $range)))
        (i32.store (local.get $counter) (i32.add (i32.load (local.get $counter)) (i32.const 1)))
        (local.set $range (i32.add (local.get $range) (i32.const 16)))
        (br $next)))

    ;; The least gain of a gap that stays, and how many of those that gain so much do.
    (local.set $left (i32.sub (local.get $most) (i32.const 1)))
    (local.set $counter (i32.const 0x8f24)) ;; that of more than 5,000 bytes
    (if (i32.ge_u (i32.load (local.get $counter)) (local.get $left)) (then (return (i32.const 0))))
    (loop $lower
      (if (i32.lt_u (i32.load (local.get $counter)) (local.get $left))
        (then
          (local.set $left (i32.sub (local.get $left) (i32.load (local.get $counter))))
          (local.set $counter (i32.sub (local.get $counter) (i32.const 4)))
          (br $lower))))

    (global.set $header (i32.const 0))
    (local.set $to (i32.const 0x60000))
    (local.set $range (i32.const 0x60010))
    (block $joined
      (loop $next
        (br_if $joined (i32.ge_u (local.get $range) (global.get $free)))
        (local.set $own (call $counter (local.get $range)))
        (local.set $equal
          (i32.and
            (i32.eq (local.get $own) (local.get $counter))
            (i32.ne (local.get $left) (i32.const 0))))
        (local.set $left (i32.sub (local.get $left) (local.get $equal)))
        (local.set $to
          (call $put
            (local.get $to)
            (local.get $range)
            (i32.or (i32.gt_u (local.get $own) (local.get $counter)) (local.get $equal))))
        (local.set $range (i32.add (local.get $range) (i32.const 16)))
        (br $next)))
    (global.set $free (i32.add (local.get $to) (i32.const 16)))
    (i32.const 1))

  ;; Join ranges, from the first to the last, where a split gains nothing.
  (func (export "join")
    (local $range i32) (local $to i32)
    (if (i32.eq (global.get $free) (i32.const 0x60000)) (then (return)))
    (global.set $header (i32.const 0))
    (local.set $to (i32.const 0x60000))
    (local.set $range (i32.const 0x60010))
    (block $joined
      (loop $next
        (br_if $joined (i32.ge_u (local.get $range) (global.get $free)))
        (local.set $to
          (call $put
            (local.get $to)
            (local.get $range)
            (i64.gt_s (call $gain (local.get $to) (local.get $range)) (i64.const 0))))
        (local.set $range (i32.add (local.get $range) (i32.const 16)))
        (br $next)))
    (global.set $free (i32.add (local.get $to) (i32.const 16))))

  ;; Where it is summed up what gaps of the same gain save; 0: the gap before a range gains more than `price`.
  (func $sum_within (param $range i32) (param $price i64) (result i32)
    (local $gain i64)
    (local.set $gain (call $gain_before (local.get $range)))
    (if (result i32) (i64.gt_s (local.get $gain) (local.get $price))
      (then (i32.const 0))
      (else
        (i32.add
          (i32.const 0x4000)
          (i32.shl (i32.wrap_i64 (i64.add (local.get $gain) (i64.const 64))) (i32.const 3))))))

  ;; Fill the gaps that gain least, and of those that gain the same the last first, as long as none gains more
  ;; than `price` and they save no more together than `grown` and all gaps do.
  (func (export "fill") (param $price i64) (param $grown i64)
    (local $range i32) (local $sum i32) (local $dearest i32) (local $from i32) (local $to i32) (local $own i32)
    (if (i32.eq (global.get $free) (i32.const 0x60000)) (then (return)))
    (memory.fill (i32.const 0x4000) (i32.const 0) (i32.const 0x5000))
    (local.set $dearest
      (i32.add
        (i32.const 0x4000)
        (i32.shl (i32.wrap_i64 (i64.add (local.get $price) (i64.const 64))) (i32.const 3))))
    (global.set $header (i32.const 0))
    (local.set $range (i32.const 0x60010))
    (block $summed
      (loop $next
        (br_if $summed (i32.ge_u (local.get $range) (global.get $free)))
        (local.set $sum (call $sum_within (local.get $range) (local.get $price)))
        (if (i32.ne (local.get $sum) (i32.const 0))
          (then
            (i64.store
              (local.get $sum) (i64.add (i64.load (local.get $sum)) (global.get $saved)))))
        (local.set $grown (i64.add (local.get $grown) (global.get $saved)))
        (local.set $range (i32.add (local.get $range) (i32.const 16)))
        (br $next)))

    ;; The least gain of which not all gaps can be filled, and what is left for them.
    (local.set $sum (i32.const 0x4000))
    (block $found
      (loop $next
        (br_if $found (i32.gt_u (local.get $sum) (local.get $dearest)))
        (br_if $found (i64.gt_s (i64.load (local.get $sum)) (local.get $grown)))
        (local.set $grown (i64.sub (local.get $grown) (i64.load (local.get $sum))))
        (local.set $sum (i32.add (local.get $sum) (i32.const 8)))
        (br $next)))

    ;; Where those begin that can be.
    (local.set $from (global.get $free))
    (local.set $range (global.get $free))
    (block $found
      (br_if $found (i32.gt_u (local.get $sum) (local.get $dearest)))
      (loop $next
        (local.set $range (i32.sub (local.get $range) (i32.const 16)))
        (br_if $found (i32.le_u (local.get $range) (i32.const 0x60000)))
        (global.set $header (i32.const 0))
        (if (i32.eq (call $sum_within (local.get $range) (local.get $price)) (local.get $sum))
          (then
            (br_if $found (i64.gt_s (global.get $saved) (local.get $grown)))
            (local.set $grown (i64.sub (local.get $grown) (global.get $saved)))
            (local.set $from (local.get $range))))
        (br $next)))

    (global.set $header (i32.const 0))
    (local.set $to (i32.const 0x60000))
    (local.set $range (i32.const 0x60010))
    (block $filled
      (loop $next
        (br_if $filled (i32.ge_u (local.get $range) (global.get $free)))
        (local.set $own (call $sum_within (local.get $range) (local.get $price)))
        (local.set $to
          (call $put
            (local.get $to)
            (local.get $range)
            (i32.eqz
              (i32.or
                (i32.lt_u (i32.sub (local.get $own) (i32.const 1)) (i32.sub (local.get $sum) (i32.const 1)))
                (i32.and
                  (i32.eq (local.get $own) (local.get $sum))
                  (i32.ge_u (local.get $range) (local.get $from)))))))
        (local.set $range (i32.add (local.get $range) (i32.const 16)))
        (br $next)))
    (global.set $free (i32.add (local.get $to) (i32.const 16))))
)
