;; SPDX-License-Identifier: Apache-2.0
;;
;; matmul(n): multiplies two n x n matrices of whole numbers with a kernel and once more right here, and answers the largest
;; difference, which is 0. Module and kernel are written by hand; the PTX lies in a data segment. The three matrices stand one
;; after the other from BASE on, in our own memory, where the kernel works on them.
(module
  (import "wasi_cuda" "load_ptx" (func $load_ptx (param i32 i32 i32 i32) (result i64)))
  (import "wasi_cuda" "launch"
    (func $launch (param i64 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_cuda" "last_error_copy" (func $last_error_copy (param i32 i32) (result i32)))
  (import "wasi:tensor/host@0.1.0" "log" (func $log (param i32 i32 i32)))

  (memory (export "memory") 1)

  ;; 0: the kernel. One element of C a thread, blocks of 16 x 16.
  (data $ptx (i32.const 0)
    ".version 7.8\n"
    ".target sm_80\n"
    ".address_size 64\n"
    ".visible .entry matmul(.param .u64 pa, .param .u64 pb, .param .u64 pc, .param .u32 pn)\n"
    "{\n"
    "    .reg .pred %p<4>;\n"
    "    .reg .b32  %r<12>;\n"
    "    .reg .f32  %f<4>;\n"
    "    .reg .b64  %d<12>;\n"
    "    ld.param.u64 %d1, [pa];\n"
    "    ld.param.u64 %d2, [pb];\n"
    "    ld.param.u64 %d3, [pc];\n"
    "    ld.param.u32 %r1, [pn];\n"
    "    mov.u32 %r2, %ctaid.x;\n"
    "    mov.u32 %r3, %ntid.x;\n"
    "    mov.u32 %r4, %tid.x;\n"
    "    mad.lo.s32 %r5, %r2, %r3, %r4;\n"         ;; column
    "    mov.u32 %r2, %ctaid.y;\n"
    "    mov.u32 %r3, %ntid.y;\n"
    "    mov.u32 %r4, %tid.y;\n"
    "    mad.lo.s32 %r6, %r2, %r3, %r4;\n"         ;; row
    "    setp.ge.u32 %p1, %r5, %r1;\n"
    "    setp.ge.u32 %p2, %r6, %r1;\n"
    "    or.pred %p3, %p1, %p2;\n"
    "    @%p3 bra DONE;\n"
    "    cvta.to.global.u64 %d1, %d1;\n"
    "    cvta.to.global.u64 %d2, %d2;\n"
    "    cvta.to.global.u64 %d3, %d3;\n"
    "    mul.lo.u32 %r7, %r6, %r1;\n"
    "    mul.wide.u32 %d4, %r7, 4;\n"
    "    add.u64 %d5, %d1, %d4;\n"                 ;; A's row
    "    mul.wide.u32 %d6, %r5, 4;\n"
    "    add.u64 %d7, %d2, %d6;\n"                 ;; B's column
    "    mul.wide.u32 %d8, %r1, 4;\n"              ;; bytes of a row
    "    mov.f32 %f1, 0f00000000;\n"
    "    mov.u32 %r8, 0;\n"
    "LOOP:\n"
    "    ld.global.f32 %f2, [%d5];\n"
    "    ld.global.f32 %f3, [%d7];\n"
    "    fma.rn.f32 %f1, %f2, %f3, %f1;\n"
    "    add.u64 %d5, %d5, 4;\n"
    "    add.u64 %d7, %d7, %d8;\n"
    "    add.u32 %r8, %r8, 1;\n"
    "    setp.lt.u32 %p1, %r8, %r1;\n"
    "    @%p1 bra LOOP;\n"
    "    add.u64 %d9, %d3, %d4;\n"
    "    add.u64 %d10, %d9, %d6;\n"
    "    st.global.f32 [%d10], %f1;\n"
    "DONE:\n"
    "    ret;\n"
    "}\n")
  (data (i32.const 4096) "matmul")
  (data (i32.const 4112) "n has to be between 1 and 2048, and the matrices have to fit the function's memory")
  ;; 4224: the launch's arguments: three guest ranges (07, offset, length) and n as a u32 (05).
  ;; 4352: the text of an error.
  (global $BASE i32 (i32.const 8192))

  ;; Bytes before the next zero.
  (func $length (param $text i32) (result i32)
    (local $end i32)
    (local.set $end (local.get $text))
    (loop $next
      (if (i32.load8_u (local.get $end))
        (then
          (local.set $end (i32.add (local.get $end) (i32.const 1)))
          (br $next))))
    (i32.sub (local.get $end) (local.get $text)))

  ;; Says why on the call's standard error, then traps.
  (func $fail (param $text i32) (param $len i32)
    (call $log (i32.const 4) (local.get $text) (local.get $len))
    unreachable)

  (func $fail_device
    (call $fail (i32.const 4352) (call $last_error_copy (i32.const 4352) (i32.const 512))))

  ;; The matrices' elements: whole numbers from -5 to 5, so that float32 adds them up without rounding.
  (func $element (param $i i32) (param $factor i32) (result f32)
    (f32.convert_i32_s
      (i32.sub (i32.rem_u (i32.mul (local.get $i) (local.get $factor)) (i32.const 11)) (i32.const 5))))

  (func $fill (param $start i32) (param $count i32) (param $factor i32)
    (local $i i32)
    (loop $next
      (f32.store (i32.add (local.get $start) (i32.shl (local.get $i) (i32.const 2)))
        (call $element (local.get $i) (local.get $factor)))
      (br_if $next
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $count)))))

  ;; One guest range into the arguments.
  (func $range (param $at i32) (param $start i32) (param $size i32)
    (i32.store8 (local.get $at) (i32.const 7))
    (i32.store offset=1 (local.get $at) (local.get $start))
    (i32.store offset=5 (local.get $at) (local.get $size)))

  (func $multiply (param $n i32) (param $size i32)
    (local $kernel i64) (local $blocks i32)
    (local.set $kernel
      (call $load_ptx (i32.const 0) (call $length (i32.const 0)) (i32.const 4096) (i32.const 6)))
    (if (i64.lt_s (local.get $kernel) (i64.const 0)) (then (call $fail_device)))
    (call $range (i32.const 4224) (global.get $BASE) (local.get $size))
    (call $range (i32.const 4233) (i32.add (global.get $BASE) (local.get $size)) (local.get $size))
    (call $range (i32.const 4242) (i32.add (global.get $BASE) (i32.shl (local.get $size) (i32.const 1))) (local.get $size))
    (i32.store8 (i32.const 4251) (i32.const 5))
    (i32.store (i32.const 4252) (local.get $n))
    (local.set $blocks (i32.shr_u (i32.add (local.get $n) (i32.const 15)) (i32.const 4)))
    (if
      (call $launch (local.get $kernel) (local.get $blocks) (local.get $blocks) (i32.const 1) (i32.const 16)
        (i32.const 16) (i32.const 1) (i32.const 0) (i32.const 4224) (i32.const 32))
      (then (call $fail_device))))

  ;; The row that starts at $a times the column that starts at $b, in double precision.
  (func $dot (param $a i32) (param $b i32) (param $n i32) (result f64)
    (local $sum f64) (local $i i32)
    (loop $next
      (local.set $sum
        (f64.add (local.get $sum)
          (f64.mul (f64.promote_f32 (f32.load (local.get $a))) (f64.promote_f32 (f32.load (local.get $b))))))
      (local.set $a (i32.add (local.get $a) (i32.const 4)))
      (local.set $b (i32.add (local.get $b) (i32.shl (local.get $n) (i32.const 2))))
      (br_if $next
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $sum))

  ;; The largest |C - A B|, element by element.
  (func $largest_error (param $n i32) (param $size i32) (result f64)
    (local $worst f64) (local $i i32) (local $c i32) (local $row i32)
    (local.set $c (i32.add (global.get $BASE) (i32.shl (local.get $size) (i32.const 1))))
    (loop $next
      (local.set $row
        (i32.shl (i32.mul (i32.div_u (local.get $i) (local.get $n)) (local.get $n)) (i32.const 2)))
      (local.set $worst
        (f64.max (local.get $worst)
          (f64.abs
            (f64.sub
              (f64.promote_f32 (f32.load (i32.add (local.get $c) (i32.shl (local.get $i) (i32.const 2)))))
              (call $dot
                (i32.add (global.get $BASE) (local.get $row))
                (i32.add (i32.add (global.get $BASE) (local.get $size))
                  (i32.shl (i32.rem_u (local.get $i) (local.get $n)) (i32.const 2)))
                (local.get $n))))))
      (br_if $next
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
          (i32.mul (local.get $n) (local.get $n)))))
    (local.get $worst))

  ;; Makes the memory at least $end bytes long; 1 when it is.
  (func $reach (param $end i32) (result i32)
    (local $missing i32)
    (local.set $missing
      (i32.sub (i32.shr_u (i32.add (local.get $end) (i32.const 65535)) (i32.const 16)) (memory.size)))
    (if (result i32) (i32.gt_s (local.get $missing) (i32.const 0))
      (then (i32.ne (memory.grow (local.get $missing)) (i32.const -1)))
      (else (i32.const 1))))

  (func (export "matmul") (param $n i32) (result f64)
    (local $size i32)
    ;; 2048 is as much as the three matrices in 48 MiB; a check takes n³ steps.
    (if (i32.gt_u (i32.sub (local.get $n) (i32.const 1)) (i32.const 2047))
      (then (call $fail (i32.const 4112) (call $length (i32.const 4112)))))
    (local.set $size (i32.shl (i32.mul (local.get $n) (local.get $n)) (i32.const 2)))
    (if (i32.eqz (call $reach (i32.add (global.get $BASE) (i32.mul (local.get $size) (i32.const 3)))))
      (then (call $fail (i32.const 4112) (call $length (i32.const 4112)))))
    (call $fill (global.get $BASE) (i32.shr_u (local.get $size) (i32.const 2)) (i32.const 7))
    (call $fill (i32.add (global.get $BASE) (local.get $size)) (i32.shr_u (local.get $size) (i32.const 2)) (i32.const 3))
    (call $multiply (local.get $n) (local.get $size))
    (call $largest_error (local.get $n) (local.get $size)))
)
