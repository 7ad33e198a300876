;; Segments that only the engine can place: an imported memory, an imported offset. They stay active.
;; expect: memories=1 globals=0 tables=0 start=0 polls=0 poll_memory=2 mutates=0 drops=0
(module
  (import "env" "memory" (memory 1))
  (import "env" "base" (global $base i32))
  (memory 1)
  (data (i32.const 8) "theirs")
  (data (memory 1) (i32.add (global.get $base) (i32.const 1)) "somewhere")
  (data (memory 1) (i32.const 8) "ours"))
