;; A poll at each of 7 loop headers, and at none of the blocks and ifs; loops with parameters, dead loops, loops in both arms. One
;; at the entry of sum_100, which calls; the others are small leaves.
;; expect: memories=1 globals=0 tables=0 start=0 polls=8 poll_memory=1 mutates=0 drops=0
;; run: yes
(module
  (memory 1)
  (func $sum (param $n i32) (result i32)
    (local $i i32) (local $total i32)
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (local.set $total (i32.add (local.get $total) (local.get $i)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (local.get $total))
  (func (export "sum_100") (result i32) (call $sum (i32.const 100)))
  (func (export "nested") (result i32)
    (local $i i32) (local $j i32) (local $n i32)
    (loop $outer
      (local.set $j (i32.const 0))
      (loop $inner
        (i32.store (i32.const 64) (local.get $n))
        (local.set $n (i32.add (i32.load (i32.const 64)) (i32.const 1)))
        (local.set $j (i32.add (local.get $j) (i32.const 1)))
        (br_if $inner (i32.lt_u (local.get $j) (i32.const 7))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $outer (i32.lt_u (local.get $i) (i32.const 9))))
    (local.get $n))
  ;; A loop that takes and gives values.
  (func (export "factorial_10") (result i64)
    (local $n i64)
    (local.set $n (i64.const 10))
    (i64.const 1)
    (loop $more (param i64) (result i64)
      (local.get $n)
      (i64.mul)
      (local.set $n (i64.sub (local.get $n) (i64.const 1)))
      (br_if $more (i64.ne (local.get $n) (i64.const 0)))))
  (func (export "arms") (result i32)
    (local $i i32)
    (if (result i32) (i32.eqz (local.get $i))
      (then (loop $a (br_if $a (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 5))))
            (local.get $i))
      (else (loop $b) (i32.const 8))))
  (func (export "switch") (result i32)
    (local $state i32) (local $steps i32)
    (loop $again
      (local.set $steps (i32.add (local.get $steps) (i32.const 1)))
      (block $two (block $one (block $zero
        (br_table $zero $one $two (local.get $state)))
        (local.set $state (i32.const 1)) (br $again))
        (local.set $state (i32.const 2)) (br $again)))
    (local.get $steps)
    (return)
    unreachable))
