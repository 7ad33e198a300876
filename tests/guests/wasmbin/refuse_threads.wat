;; tools: --enable-threads
;; refused: threads and shared memories are not supported by this host
(module (memory 1 1 shared) (func (drop (i32.atomic.load (i32.const 0)))))
