;; SPDX-License-Identifier: Apache-2.0
;;
;; The smallest useful function, written by hand: add(2, 3) by JSON, and a greeting as bytes when nothing is asked for.
(module
  (import "wasi:tensor/host@0.1.0" "emit-chunk" (func $emit_chunk (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "hello, world\n")

  (func (export "add") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1)))

  (func (export "_start")
    (drop (call $emit_chunk (i32.const 0) (i32.const 13)))))
