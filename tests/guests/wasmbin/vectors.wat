;; Vectors, with constants whose bytes look like instructions (0x03 is `loop`). Polls at the loop
;; and at the entry of its function, which has more than 64 bytes of code.
;; expect: memories=1 globals=0 tables=0 start=0 polls=2 poll_memory=1 mutates=0 drops=0
;; run: yes
(module
  (memory 1)
  (func (export "dot") (result i32)
    (local $i i32) (local $sum v128)
    (loop $next
      (v128.store offset=16 (local.get $i) (v128.const i8x16 3 3 3 3 3 3 3 3 3 3 3 3 3 3 3 3))
      (local.set $sum (i32x4.add (local.get $sum) (v128.load offset=16 align=1 (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 16)))
      (br_if $next (i32.lt_u (local.get $i) (i32.const 160))))
    (i32x4.extract_lane 3 (i8x16.shuffle 3 3 3 3 3 3 3 3 3 3 3 3 3 3 3 3 (local.get $sum) (local.get $sum))))
  (func (export "constants") (result f64)
    (drop (i64.const 0x0303030303030303))
    (drop (f32.const 0x1.060606p-121))
    (v128.store8_lane 3 (i32.const 3) (v128.const i64x2 3 3))
    (f64.const 0x1.3030303030303p-975)))
