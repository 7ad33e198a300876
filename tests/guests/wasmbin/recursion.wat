;; Recursion of all direct kinds: itself, each other, tail calls. A poll at the entry of each of 10 functions that call, none
;; in `leaf`, which does not.
;; expect: memories=0 globals=0 tables=0 start=0 polls=10 poll_memory=0 mutates=0 drops=0
;; run: yes
(module
  (func $leaf (param i32) (result i32) (i32.sub (local.get 0) (i32.const 1)))
  (func $fib (param i32) (result i32)
    (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
      (then (local.get 0))
      (else (i32.add (call $fib (call $leaf (local.get 0))) (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
  (func $even (param i32) (result i32)
    (if (result i32) (local.get 0) (then (call $odd (call $leaf (local.get 0)))) (else (i32.const 1))))
  (func $odd (param i32) (result i32)
    (if (result i32) (local.get 0) (then (call $even (call $leaf (local.get 0)))) (else (i32.const 0))))
  (func $spin (param i32) (result i32)
    (if (local.get 0) (then (return_call $spin (call $leaf (local.get 0)))))
    (i32.const 77))
  (func $ping (param i32) (result i32)
    (if (local.get 0) (then (return_call $pong (call $leaf (local.get 0)))))
    (i32.const 1))
  (func $pong (param i32) (result i32)
    (if (local.get 0) (then (return_call $ping (call $leaf (local.get 0)))))
    (i32.const 2))
  (func (export "fib_15") (result i32) (call $fib (i32.const 15)))
  (func (export "odd_31") (result i32) (call $odd (i32.const 31)))
  (func (export "spin_100") (result i32) (call $spin (i32.const 100)))
  (func (export "ping_7") (result i32) (call $ping (i32.const 7))))
