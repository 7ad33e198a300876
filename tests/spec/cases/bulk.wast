;; Fills and copies longer than a piece: the same bytes as in one go, whichever way they overlap, and all or nothing at the bounds.

(module
  (memory $m (export "m") 20)
  (memory $other 20)
  (func (export "fill") (param i32 i32 i32) (memory.fill $m (local.get 0) (local.get 1) (local.get 2)))
  (func (export "copy") (param i32 i32 i32) (memory.copy $m $m (local.get 0) (local.get 1) (local.get 2)))
  (func (export "over") (param i32 i32 i32) (memory.copy $other $m (local.get 0) (local.get 1) (local.get 2)))
  (func (export "back") (param i32 i32 i32) (memory.copy $m $other (local.get 0) (local.get 1) (local.get 2)))
  ;; Each word holds its address, mixed.
  (func (export "number") (param $end i32) (local $i i32)
    (loop $l
      (i32.store (local.get $i) (i32.mul (local.get $i) (i32.const 0x9e3779b1)))
      (local.set $i (i32.add (local.get $i) (i32.const 4)))
      (br_if $l (i32.lt_u (local.get $i) (local.get $end)))))
  ;; A sum over all that depends on the order.
  (func (export "digest") (param $end i32) (result i64) (local $i i32) (local $h i64)
    (loop $l
      (local.set $h (i64.mul (i64.xor (local.get $h) (i64.load (local.get $i))) (i64.const 0x100000001b3)))
      (local.set $i (i32.add (local.get $i) (i32.const 8)))
      (br_if $l (i32.lt_u (local.get $i) (local.get $end))))
    (local.get $h))
  (func (export "word") (param i32) (result i32) (i32.load (local.get 0))))

;; Upwards by 12, over three pieces and a bit: word k + 3 now holds what word k held.
(invoke "number" (i32.const 1310720))
(assert_return (invoke "copy" (i32.const 12) (i32.const 0) (i32.const 900000)))
(assert_return (invoke "word" (i32.const 12)) (i32.const 0))
(assert_return (invoke "word" (i32.const 400012)) (i32.const 0x983ed280))
(assert_return (invoke "word" (i32.const 900008)) (i32.const 0x1daf72dc))
(assert_return (invoke "word" (i32.const 900012)) (i32.const 0x01270dec))
;; Downwards.
(invoke "number" (i32.const 1310720))
(assert_return (invoke "copy" (i32.const 0) (i32.const 12) (i32.const 900000)))
(assert_return (invoke "word" (i32.const 0)) (i32.const 0x6a99b44c))
(assert_return (invoke "word" (i32.const 899996)) (i32.const 0x88492728))
;; To another memory and back is the identity.
(invoke "number" (i32.const 1310720))
(assert_return (invoke "over" (i32.const 5) (i32.const 100) (i32.const 1000000)))
(assert_return (invoke "fill" (i32.const 100) (i32.const 0xaa) (i32.const 1000000)))
(assert_return (invoke "word" (i32.const 500000)) (i32.const 0xaaaaaaaa))
(assert_return (invoke "back" (i32.const 100) (i32.const 5) (i32.const 1000000)))
(assert_return (invoke "word" (i32.const 500000)) (i32.const 0xfe4e8720))
(assert_return (invoke "word" (i32.const 96)) (i32.const 0x54cda260))
;; Out of bounds: nothing is written, not even the pieces that would have fitted.
(assert_return (invoke "fill" (i32.const 0) (i32.const 0) (i32.const 1310720)))
(assert_trap (invoke "fill" (i32.const 1) (i32.const 0xff) (i32.const 1310720)) "out of bounds memory access")
(assert_trap (invoke "fill" (i32.const 0) (i32.const 0xff) (i32.const -1)) "out of bounds memory access")
(assert_trap (invoke "copy" (i32.const 400000) (i32.const 0) (i32.const 1000000)) "out of bounds memory access")
(assert_trap (invoke "over" (i32.const 0) (i32.const 400000) (i32.const 1000000)) "out of bounds memory access")
(assert_return (invoke "word" (i32.const 0)) (i32.const 0))
(assert_return (invoke "word" (i32.const 400000)) (i32.const 0))
(assert_return (invoke "fill" (i32.const 1310720) (i32.const 1) (i32.const 0)))
(assert_trap (invoke "fill" (i32.const 1310721) (i32.const 1) (i32.const 0)) "out of bounds memory access")
