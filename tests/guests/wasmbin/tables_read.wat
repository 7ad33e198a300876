;; Code that only reads tables can be reset in place.
;; expect: memories=0 globals=0 tables=1 start=0 polls=0 poll_memory=0 mutates=0 drops=0
;; run: yes
(module
  (table $t (export "table") 4 funcref)
  (elem (i32.const 1) $f)
  (func $f)
  (func (export "is_null") (result i32) (ref.is_null (table.get $t (i32.const 1))))
  (func (export "size") (result i32) (table.size $t)))
