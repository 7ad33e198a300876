;; Everything that an instance holds: memories, tables, mutable globals (those with numbers), a start function. Immutable
;; globals and imports are not its state.
;; expect: memories=2 globals=5 tables=2 start=1 polls=0 poll_memory=3 mutates=0 drops=0
(module
  (import "env" "memory" (memory 1))
  (import "env" "table" (table 1 funcref))
  (import "env" "stack" (global (mut i32)))
  (import "env" "base" (global i32))
  (memory 1 2)
  (memory (export "second") 2)
  (table 1 1 funcref)
  (table 2 externref)
  (global $a (mut i32) (i32.const 1))
  (global $b i32 (i32.const 2))
  (global $c (export "c") (mut i64) (i64.const 3))
  (global $d (mut f32) (f32.const 4))
  (global $e (mut f64) (f64.const 5))
  (global $f funcref (ref.func $init))
  (global $g (mut v128) (v128.const i32x4 1 2 3 4))
  (start $init)
  (func $init (global.set $a (i32.const 9))))
