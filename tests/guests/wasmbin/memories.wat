;; Several memories, all instructions that name one: their indices stay. Polls in 3 functions whose
;; instructions take long, and in 2 loops.
;; expect: memories=3 globals=0 tables=0 start=0 polls=5 poll_memory=3 mutates=0 drops=0
;; run: yes
(module
  (memory $a 1)
  (memory $b 1 3)
  (memory $c 0)
  (func (export "sizes") (result i32)
    (drop (memory.grow $b (i32.const 2)))
    (i32.add (i32.mul (memory.size $a) (i32.const 100))
             (i32.add (i32.mul (memory.size $b) (i32.const 10)) (memory.size $c))))
  (func (export "no_fourth_page") (result i32) (memory.grow $b (i32.const 1)))
  (func (export "copy") (result i32)
    (local $i i32)
    (memory.fill $a (i32.const 0) (i32.const 5) (i32.const 8))
    (memory.copy $b $a (i32.const 4) (i32.const 0) (i32.const 4))
    (loop $next
      (i32.store8 $b (local.get $i) (i32.const 1))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3))))
    (i32.load $b offset=2 (i32.const 0)))
  (func (export "spin") (result i32)
    (loop $l (result i32) (i32.load16_u $a offset=3 (i32.const 1)))))
