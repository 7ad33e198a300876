;; tools: --enable-gc --enable-function-references
;; refused: GC types are not supported by this host
(module (type (struct (field i32))))
