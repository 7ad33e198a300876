;; Active segments become bytes of the image: order, overlap, offsets from globals, passive ones, drops, and what is out of bounds.

(module
  (memory (export "memory") 1 4)
  (global $at i32 (i32.const 40))
  (data (i32.const 8) "first")
  (data (i32.const 10) "RST!")                       ;; overlaps: later ones win
  (data (global.get $at) "at")
  (data $kept "passive")
  (data (i32.add (i32.const 40) (i32.const 3)) "sum")  ;; a computed offset
  (data (i32.const 65536) "")                        ;; empty, at the very end
  (func (export "byte") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "word") (param i32) (result i64) (i64.load (local.get 0)))
  (func (export "init") (param i32 i32 i32) (memory.init $kept (local.get 0) (local.get 1) (local.get 2)))
  (func (export "drop") (data.drop $kept))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "size") (result i32) (memory.size)))

(assert_return (invoke "word" (i32.const 8)) (i64.const 0x0000215453526966))  ;; "fiRST!"
(assert_return (invoke "byte" (i32.const 40)) (i32.const 97))
(assert_return (invoke "byte" (i32.const 43)) (i32.const 115))
(assert_return (invoke "byte" (i32.const 65535)) (i32.const 0))
(assert_trap (invoke "byte" (i32.const 65536)) "out of bounds memory access")
(assert_return (invoke "init" (i32.const 100) (i32.const 1) (i32.const 3)))
(assert_return (invoke "word" (i32.const 100)) (i64.const 0x737361))
(assert_trap (invoke "init" (i32.const 100) (i32.const 5) (i32.const 3)) "out of bounds memory access")
(assert_return (invoke "drop"))
(assert_return (invoke "init" (i32.const 100) (i32.const 0) (i32.const 0)))
(assert_trap (invoke "init" (i32.const 100) (i32.const 0) (i32.const 1)) "out of bounds memory access")
(assert_return (invoke "grow" (i32.const 2)) (i32.const 1))
(assert_return (invoke "grow" (i32.const 2)) (i32.const -1))
(assert_return (invoke "size") (i32.const 3))
(assert_return (invoke "byte" (i32.const 196607)) (i32.const 0))
(assert_trap (invoke "byte" (i32.const 196608)) "out of bounds memory access")

;; A segment beyond the memory's end: instantiation fails.
(assert_trap (module (memory 1) (data (i32.const 65535) "ab")) "out of bounds memory access")
(assert_trap (module (memory 0) (data (i32.const 0) "a")) "out of bounds memory access")
(module (memory 0) (data (i32.const 0) ""))
(assert_trap (module (memory 0) (data (i32.const 1) "")) "out of bounds memory access")

;; Dropping an active segment is allowed: it is empty already.
(module
  (memory 1) (data $active (i32.const 0) "x")
  (func (export "again") (param i32) (memory.init $active (i32.const 8) (i32.const 0) (local.get 0)))
  (func (export "drop") (data.drop $active)))
(assert_return (invoke "again" (i32.const 0)))
(assert_trap (invoke "again" (i32.const 1)) "out of bounds memory access")
(assert_return (invoke "drop"))
