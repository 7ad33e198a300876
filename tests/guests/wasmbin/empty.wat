;; Nothing at all: only the poll memory comes in, as memory 0.
;; expect: memories=0 globals=0 tables=0 start=0 polls=0 poll_memory=0 mutates=0 drops=0
(module)
