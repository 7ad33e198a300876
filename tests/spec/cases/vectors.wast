;; Vectors, saturating conversions and sign extension through loops with polls.

(module
  (memory 1)
  (func (export "dot") (param $n i32) (result f32) (local $i i32) (local $s v128)
    (loop $fill
      (f32.store (i32.mul (local.get $i) (i32.const 4)) (f32.convert_i32_u (local.get $i)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $fill (i32.lt_u (local.get $i) (local.get $n))))
    (local.set $i (i32.const 0))
    (loop $l
      (local.set $s (f32x4.add (local.get $s)
        (f32x4.mul (v128.load (i32.mul (local.get $i) (i32.const 4))) (v128.load (i32.mul (local.get $i) (i32.const 4))))))
      (local.set $i (i32.add (local.get $i) (i32.const 4)))
      (br_if $l (i32.lt_u (local.get $i) (local.get $n))))
    (f32.add (f32.add (f32x4.extract_lane 0 (local.get $s)) (f32x4.extract_lane 1 (local.get $s)))
             (f32.add (f32x4.extract_lane 2 (local.get $s)) (f32x4.extract_lane 3 (local.get $s)))))
  (func (export "saturate") (param f32) (result i32) (i32.trunc_sat_f32_s (local.get 0)))
  (func (export "truncate") (param f32) (result i32) (i32.trunc_f32_s (local.get 0)))
  (func (export "extend") (param i32) (result i32) (i32.extend8_s (local.get 0)))
  (func (export "divide") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
  (func (export "shuffle") (param i32) (result i32)
    (i8x16.extract_lane_u 0 (i8x16.swizzle
      (v128.const i8x16 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25) (i8x16.splat (local.get 0))))))

(assert_return (invoke "dot" (i32.const 8)) (f32.const 140))
(assert_return (invoke "dot" (i32.const 16)) (f32.const 1240))
(assert_return (invoke "saturate" (f32.const 1e30)) (i32.const 2147483647))
(assert_return (invoke "saturate" (f32.const nan)) (i32.const 0))
(assert_trap (invoke "truncate" (f32.const 1e30)) "integer overflow")
(assert_trap (invoke "truncate" (f32.const nan)) "invalid conversion to integer")
(assert_return (invoke "extend" (i32.const 0x1ff)) (i32.const -1))
(assert_trap (invoke "divide" (i32.const 1) (i32.const 0)) "integer divide by zero")
(assert_trap (invoke "divide" (i32.const 0x80000000) (i32.const -1)) "integer overflow")
(assert_return (invoke "shuffle" (i32.const 3)) (i32.const 13))
(assert_return (invoke "shuffle" (i32.const 16)) (i32.const 0))
