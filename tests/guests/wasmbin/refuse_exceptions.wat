;; tools: --enable-exceptions
;; refused: exception handling is not supported by this host
(module (tag $t (param i32)) (func (throw $t (i32.const 1))))
