;; tools: --enable-threads
;; refused: threads are not supported by this host
(module (memory 1 1) (func (drop (i32.atomic.load (i32.const 0)))))
