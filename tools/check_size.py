#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds sizes: a file has at most 500 lines, a function 40, a public header 300. Above that it needs a reason in the table below, and
above 800 / 80 it is refused with any reason. Tables (.def) are exempt."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILE_SOFT, FILE_HARD, FUNCTION_SOFT, FUNCTION_HARD, HEADER = 500, 800, 40, 80, 300

# "file" or "file:function" → why it may be longer.
REASONS = {
    "src/service/service.h": "all use cases, one group after the other",
    "tests/unit/jit/oracle.c:float_op": "one switch over the operations, a line or two each",
    "tests/unit/jit/random_kernel.c:bits_op": "one switch over the forms of instructions, a line or two each",
    "tests/guests/cuda.c:errors": "one misuse of the interface after the other, two lines each",
    "src/wasmbin/code.c:check_indices": "one switch over the kinds of immediates, a line or two each",
    "src/wasmbin/decode.c:read_immediates": "one switch over the kinds of immediates, a line or two each",
    "tests/unit/wasmbin/test_opcodes.c:immediates_text": "one switch over the kinds of immediates, a line or two each",
}


def functions_of(lines):
    """(name, line, length) of every function: from the line of its opening brace's signature to the closing brace in column 0."""
    start, name = None, None
    for number, line in enumerate(lines, 1):
        if start is None:
            found = re.match(r"^[A-Za-z_\[].*?\b([A-Za-z_]\w*)\(", line)
            if found and not line.startswith(("#", "struct tw_json_writer {", "enum")):
                name, candidate = found.group(1), number
            if line.rstrip().endswith("{") and name and not re.match(r"^(static |const )*(struct|enum|union)[\w\s]*\{", line):
                if not re.search(r"=\s*\{$", line):
                    start = candidate
                name = name if start else None
        if line.startswith("}"):
            if start is not None:
                yield name, start, number - start + 1
            start, name = None, None


def main():
    problems = []
    used = set()

    def check(key, size, soft, hard, what):
        if size > hard:
            problems.append(f"{key}: {size} lines, {what} has at most {hard}")
        elif size > soft and key not in REASONS:
            problems.append(f"{key}: {size} lines, {what} has at most {soft}, or a reason in tools/check_size.py")
        elif size > soft:
            used.add(key)

    files = [p for folder in ("src", "tests", "fuzz", "bench", "sdk", "examples") for p in sorted((ROOT / folder).rglob("*.[ch]"))]
    for path in files:
        relative = str(path.relative_to(ROOT))
        lines = path.read_text().splitlines()
        is_public = path.suffix == ".h" and relative.startswith("src/") and path.stem == path.parent.name
        check(relative, len(lines), HEADER if is_public else FILE_SOFT, FILE_HARD, "a public header" if is_public else "a file")
        if path.suffix == ".c":
            for name, _, length in functions_of(lines):
                check(f"{relative}:{name}", length, FUNCTION_SOFT, FUNCTION_HARD, "a function")
    problems += [f"{key}: the reason in tools/check_size.py is no longer needed" for key in REASONS if key not in used]
    for problem in problems:
        print(problem)
    print(f"sizes: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
