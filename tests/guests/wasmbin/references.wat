;; A mutable global that holds a reference cannot be set back from outside: not among tw:g, and counted as a table is.
;; expect: memories=0 globals=1 tables=0 start=0 polls=0 poll_memory=0 mutates=1 drops=0
(module
  (global $number (mut i32) (i32.const 1))
  (global $reference (mut externref) (ref.null extern))
  (func (export "touch") (global.set $number (i32.const 2))))
