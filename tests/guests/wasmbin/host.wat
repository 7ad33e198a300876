;; Calls of the host, directly, by a tail call and through a table: a poll at the entry of each of 4 functions, so that no cycle
;; through the host is without one. `seven` has none.
;; expect: memories=1 globals=0 tables=1 start=0 polls=4 poll_memory=1 mutates=0 drops=0
(module
  (type $log (func (param i32)))
  (type $own (func (result i32)))
  (import "host" "log" (func $host_log (type $log)))
  (import "host" "now" (func $host_now (result i64)))
  (memory (export "memory") 1 4)
  (table 4 4 funcref)
  (elem (i32.const 0) $host_log $seven)
  (func $seven (type $own) (i32.const 7))
  (func (export "direct") (call $host_log (i32.wrap_i64 (call $host_now))))
  (func (export "tail") (result i64) (return_call $host_now))
  (func (export "through") (call_indirect (type $log) (i32.const 1) (i32.const 0)))
  (func (export "own") (result i32) (call_indirect (type $own) (i32.const 1))))
