;; tools: --enable-exceptions
;; refused: the exceptions of before WebAssembly 3.0 are not supported by this host
(module (func (try (do) (catch_all))))
