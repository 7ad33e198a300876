;; Takes what a tenant may have only so much of, and sleeps with it until the caller goes away.
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_cuda" "alloc" (func $alloc (param i32 i32) (result i64)))
  (import "wasi_cuda" "load_ptx" (func $load (param i32 i32 i32 i32) (result i64)))
  (import "wasi_cuda" "launch" (func $launch (param i64 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024)
    ".version 7.0\n.target sm_70\n.address_size 64\n"
    ".visible .entry spin(.param .u64 n, .param .u64 out) {\n"
    " .reg .u64 %i, %n, %x, %o; .reg .pred %p;\n"
    " ld.param.u64 %n, [n]; ld.param.u64 %o, [out]; mov.u64 %i, 0; mov.u64 %x, 1;\n"
    "again: mul.lo.u64 %x, %x, 6364136223846793005; add.u64 %x, %x, 1442695040888963407;\n"
    " add.u64 %i, %i, 1; setp.lt.u64 %p, %i, %n; @%p bra again;\n"
    " st.global.u64 [%o], %x; ret; }\n\00")
  (data (i32.const 2048) "spin")
  ;; One subscription to the monotonic clock, 120 s from now.
  (func $sleep (export "sleep")
    (i64.store (i32.const 256) (i64.const 7))
    (i32.store8 (i32.const 264) (i32.const 0))
    (i32.store (i32.const 272) (i32.const 1))
    (i64.store (i32.const 280) (i64.const 120000000000))
    (i64.store (i32.const 288) (i64.const 1000000))
    (i32.store16 (i32.const 296) (i32.const 0))
    (drop (call $poll (i32.const 256) (i32.const 320) (i32.const 1) (i32.const 384))))
  (func (export "grow") (param $pages i32) (result i32)
    (memory.grow (local.get $pages)))
  (func (export "grow_and_sleep") (param $pages i32) (result i32)
    (if (i32.eq (memory.grow (local.get $pages)) (i32.const -1)) (then (return (i32.const -1))))
    (call $sleep)
    (i32.const 0))
  (func (export "alloc_and_sleep") (param $bytes i32) (result i64)
    (local $handle i64)
    (local.set $handle (call $alloc (local.get $bytes) (i32.const 0)))
    (if (i64.gt_s (local.get $handle) (i64.const 0)) (then (call $sleep)))
    (local.get $handle))
  ;; Launches a kernel of so many rounds, so many times; the first code that is not 0, or the number below 0 that load_ptx gave.
  (func (export "launch") (param $rounds i64) (param $times i32) (result i32)
    (local $kernel i64) (local $code i32) (local $len i32)
    (loop $count
      (local.set $len (i32.add (local.get $len) (i32.const 1)))
      (br_if $count (i32.load8_u (i32.add (i32.const 1024) (local.get $len)))))
    (local.set $kernel (call $load (i32.const 1024) (local.get $len) (i32.const 2048) (i32.const 4)))
    (if (i64.le_s (local.get $kernel) (i64.const 0)) (then (return (i32.wrap_i64 (local.get $kernel)))))
    (i32.store8 (i32.const 512) (i32.const 6))
    (i64.store (i32.const 513) (local.get $rounds))
    (i32.store8 (i32.const 521) (i32.const 7))
    (i32.store (i32.const 522) (i32.const 640))
    (i32.store (i32.const 526) (i32.const 8))
    (loop $again
      (local.set $code (call $launch (local.get $kernel) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1)
        (i32.const 1) (i32.const 0) (i32.const 512) (i32.const 18)))
      (if (local.get $code) (then (return (local.get $code))))
      (local.set $times (i32.sub (local.get $times) (i32.const 1)))
      (br_if $again (local.get $times)))
    (i32.const 0))
  (func (export "trap") unreachable)
  (func (export "spin") (loop $on (br $on)))
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))
