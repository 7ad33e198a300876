;; Polls in loops: with values on the stack, parameters, several exits, and none of it may change a result.

(module
  (func (export "sum") (param $n i32) (result i64) (local $i i32) (local $s i64)
    (loop $next
      (local.set $s (i64.add (local.get $s) (i64.extend_i32_u (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (local.get $n))))
    (local.get $s))

  ;; The loop's parameters carry all of its state.
  (func (export "gcd") (param i32 i32) (result i32)
    (local.get 0) (local.get 1)
    (loop $again (param i32 i32) (result i32)
      (local.set 1) (local.set 0)
      (if (result i32) (i32.eqz (local.get 1))
        (then (local.get 0))
        (else (local.get 1) (i32.rem_u (local.get 0) (local.get 1)) (br $again)))))

  ;; A value waits below the loop while it turns.
  (func (export "below") (param $n i32) (result i32)
    (i32.const 1000)
    (loop $l (result i32)
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br_if $l (i32.gt_s (local.get $n) (i32.const 0)))
      (local.get $n))
    (i32.add))

  ;; Two loops, one in the other, left from the inner one by a table of exits.
  (func (export "leave") (param $how i32) (result i32) (local $i i32)
    (block $a (block $b (block $c
      (loop $outer
        (loop $inner
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $inner (i32.rem_u (local.get $i) (i32.const 7)))
          (br_if $outer (i32.lt_u (local.get $i) (i32.const 70)))
          (br_table $a $b $c $outer (local.get $how)))))
      (return (i32.add (local.get $i) (i32.const 300))))
      (return (i32.add (local.get $i) (i32.const 200))))
    (i32.add (local.get $i) (i32.const 100)))

  (func (export "floats") (param $n i32) (result f64) (local $x f64)
    (loop $l
      (local.set $x (f64.add (f64.mul (local.get $x) (f64.const 0.5)) (f64.const 1)))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br_if $l (local.get $n)))
    (local.get $x))

  ;; Never turned, dead, and empty ones.
  (func (export "empty") (result i32)
    (loop) (loop (nop)) (i32.const 4))
  (func (export "dead") (result i32)
    (return (i32.const 5)) (loop $l (br $l)) (i32.const 6)))

(assert_return (invoke "sum" (i32.const 1)) (i64.const 0))
(assert_return (invoke "sum" (i32.const 10)) (i64.const 45))
(assert_return (invoke "sum" (i32.const 100000)) (i64.const 4999950000))
(assert_return (invoke "gcd" (i32.const 1071) (i32.const 462)) (i32.const 21))
(assert_return (invoke "gcd" (i32.const 7) (i32.const 0)) (i32.const 7))
(assert_return (invoke "below" (i32.const 5)) (i32.const 1000))
(assert_return (invoke "below" (i32.const -5)) (i32.const 994))
(assert_return (invoke "leave" (i32.const 0)) (i32.const 170))
(assert_return (invoke "leave" (i32.const 1)) (i32.const 270))
(assert_return (invoke "leave" (i32.const 2)) (i32.const 370))
(assert_return (invoke "floats" (i32.const 1)) (f64.const 1))
(assert_return (invoke "floats" (i32.const 3)) (f64.const 1.75))
(assert_return (invoke "floats" (i32.const 2000)) (f64.const 2))
(assert_return (invoke "empty") (i32.const 4))
(assert_return (invoke "dead") (i32.const 5))
