;; tools: --enable-memory64
;; refused: 64-bit memories and tables (memory64) are not supported by this host
(module (memory i64 1))
