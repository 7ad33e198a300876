;; Code that changes a table. Polls in `get`, which calls, and in those whose instruction takes a length.
;; expect: memories=0 globals=0 tables=2 start=0 polls=5 poll_memory=0 mutates=1 drops=0
;; run: yes
(module
  (table $t 4 funcref)
  (table $u 4 externref)
  (elem $passive func $f)
  (elem declare func $g)
  (elem (table $t) (i32.const 1) funcref (ref.func $f) (ref.null func))
  (func $f (result i32) (i32.const 1))
  (func $g (result i32) (i32.const 2))
  (func (export "set") (table.set $t (i32.const 0) (ref.func $g)))
  (func (export "get") (result i32) (call_indirect $t (result i32) (i32.const 0)))
  (func (export "grow") (result i32) (table.grow $u (ref.null extern) (i32.const 2)))
  (func (export "init") (table.init $t $passive (i32.const 2) (i32.const 0) (i32.const 1)) (elem.drop $passive))
  (func (export "copy") (table.copy $t $t (i32.const 3) (i32.const 2) (i32.const 1)))
  (func (export "fill") (table.fill $u (i32.const 0) (ref.null extern) (i32.const 1)))
  (func (export "size") (result i32) (table.size $u)))
