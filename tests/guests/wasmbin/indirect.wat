;; Recursion through tables: `walk` calls through the type that it has itself, `tail` the same with return_call_indirect, `hop` and
;; `skip` by an equal type that has another number. A poll at the entry of each of 12 functions that call, directly or not;
;; none in `double` and `compare`.
;; expect: memories=0 globals=0 tables=1 start=0 polls=12 poll_memory=0 mutates=0 drops=0
;; run: yes
(module
  (type $unary (func (param i32) (result i32)))
  (type $same (func (param i32) (result i32)))
  (type $binary (func (param i32 i32) (result i32)))
  (type $lonely (func (param i64)))
  (table 8 funcref)
  (elem (i32.const 0) $double $walk $tail $hop $compare)
  (func $double (type $unary) (i32.mul (local.get 0) (i32.const 2)))
  (func $walk (type $unary)
    (if (result i32) (i32.eqz (local.get 0))
      (then (i32.const 3))
      (else (call_indirect (type $unary) (i32.sub (local.get 0) (i32.const 1)) (i32.const 1)))))
  (func $tail (type $unary)
    (if (i32.eqz (local.get 0)) (then (return (i32.const 4))))
    (return_call_indirect (type $unary) (i32.sub (local.get 0) (i32.const 1)) (i32.const 2)))
  (func $hop (type $same) (call $skip (local.get 0)))
  (func $skip (param i32) (result i32)
    (if (result i32) (i32.eqz (local.get 0))
      (then (i32.const 5))
      (else (call_indirect (type $same) (i32.sub (local.get 0) (i32.const 1)) (i32.const 3)))))
  (func $compare (type $binary) (i32.lt_s (local.get 0) (local.get 1)))
  (func $sort (param i32 i32) (result i32) (call_indirect (type $binary) (local.get 1) (local.get 0) (i32.const 4)))
  (func $other (call_indirect (type $lonely) (i64.const 1) (i32.const 7)))
  (func (export "double_21") (result i32) (call_indirect (type $same) (i32.const 21) (i32.const 0)))
  (func (export "walk_9") (result i32) (call $walk (i32.const 9)))
  (func (export "tail_9") (result i32) (call $tail (i32.const 9)))
  (func (export "hop_9") (result i32) (call $hop (i32.const 9)))
  (func (export "sort") (result i32) (call $sort (i32.const 1) (i32.const 2)))
  (func (export "other") (call $other)))
