;; Fills and copies of lengths that are not known: done in pieces of 256 KiB by functions that stand behind the module's own.
;; Memories a and b, and one of a single page. Each export leaves a sum over all of them.
;; expect: memories=3 globals=0 tables=0 start=0 polls=27 poll_memory=3 mutates=0 drops=0
;; run: yes
(module
  (memory $a 20)
  (memory $b 10)
  (memory $small 1)
  (type $bulk (func (param i32 i32 i32)))
  ;; Bytes that differ at every place: the low byte of i * i + i >> 9.
  (func $scatter (local $i i32)
    (loop $next
      (i32.store8 $a (local.get $i)
        (i32.add (i32.mul (local.get $i) (local.get $i)) (i32.shr_u (local.get $i) (i32.const 9))))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1310720)))))
  (func $sum (result i64) (local $i i32) (local $s i64)
    (loop $next
      (local.set $s (i64.add (i64.mul (local.get $s) (i64.const 31)) (i64.load $a (local.get $i))))
      (local.set $s (i64.add (i64.mul (local.get $s) (i64.const 31)) (i64.load $b (i32.and (i32.shr_u (local.get $i) (i32.const 1)) (i32.const -8)))))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.const 1310720))))
    (i64.add (local.get $s) (i64.load $small (i32.const 0))))
  (func $fill (type $bulk) (memory.fill $a (local.get 0) (local.get 1) (local.get 2)))
  (func $within (type $bulk) (memory.copy $a $a (local.get 0) (local.get 1) (local.get 2)))
  (func $to_b (type $bulk) (memory.copy $b $a (local.get 0) (local.get 1) (local.get 2)))
  (func (export "fill odd") (result i64) (call $scatter) (call $fill (i32.const 12345) (i32.const 7) (i32.const 700001)) (call $sum))
  (func (export "fill pieces exactly") (result i64) (call $scatter) (call $fill (i32.const 3) (i32.const 9) (i32.const 786432)) (call $sum))
  (func (export "fill all") (result i64) (call $scatter) (call $fill (i32.const 0) (i32.const 255) (i32.const 1310720)) (call $sum))
  (func (export "fill the end") (result i64) (call $scatter) (call $fill (i32.const 1000000) (i32.const 1) (i32.const 310720)) (call $sum))
  (func (export "fill too far") (call $scatter) (call $fill (i32.const 1000000) (i32.const 1) (i32.const 310721)))
  (func (export "nothing was filled") (result i64) (call $sum))
  (func (export "fill wraps") (call $fill (i32.const 16) (i32.const 1) (i32.const -1)))
  (func (export "fill nothing") (result i64) (call $fill (i32.const 1310720) (i32.const 1) (i32.const 0)) (call $sum))
  (func (export "copy up by one") (result i64) (call $scatter) (call $within (i32.const 101) (i32.const 100) (i32.const 900001)) (call $sum))
  (func (export "copy up by a piece and more") (result i64)
    (call $scatter) (call $within (i32.const 300000) (i32.const 100) (i32.const 900001)) (call $sum))
  (func (export "copy down by one") (result i64) (call $scatter) (call $within (i32.const 100) (i32.const 101) (i32.const 900001)) (call $sum))
  (func (export "copy down far") (result i64) (call $scatter) (call $within (i32.const 7) (i32.const 700000) (i32.const 600000)) (call $sum))
  (func (export "copy onto itself") (result i64) (call $scatter) (call $within (i32.const 5) (i32.const 5) (i32.const 524289)) (call $sum))
  (func (export "copy to the other") (result i64) (call $scatter) (call $to_b (i32.const 11) (i32.const 13) (i32.const 655349)) (call $sum))
  (func (export "copy too far to") (call $to_b (i32.const 12) (i32.const 0) (i32.const 655349)))
  (func (export "copy too far from") (call $within (i32.const 0) (i32.const 1) (i32.const 1310720)))
  (func (export "nothing was copied") (result i64) (call $sum))
  ;; Known to be small: stays as it is.
  (func (export "small") (result i64)
    (memory.fill $small (i32.const 0) (i32.const 3) (i32.const 8)) (memory.copy $small $a (i32.const 4) (i32.const 9) (i32.const 2))
    (call $sum)))
