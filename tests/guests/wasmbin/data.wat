;; Segments: active ones with constant and computed offsets, in two memories; a passive one that is used, so that the declared
;; count must stay. Offsets: 16, 100 + 4 * 6 - 3 = 121, 4096; two at the very end, one of them empty.
;; The function has a poll, since memory.init may take long.
;; expect: memories=2 globals=0 tables=0 start=0 polls=1 poll_memory=2 mutates=0 drops=1
(module
  (memory 1)
  (memory 1)
  (data (i32.const 16) "hello")
  (data (i32.sub (i32.add (i32.const 100) (i32.mul (i32.const 4) (i32.const 6))) (i32.const 3)) "computed")
  (data $lazy "passive")
  (data (memory 1) (i32.const 4096) "based")
  (data (i32.const 65536) "")
  (data (i32.const 65535) "\ff")
  (func (export "load") (memory.init $lazy (i32.const 0) (i32.const 0) (i32.const 7)) (data.drop $lazy)))
