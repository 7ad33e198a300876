#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Names and habits: reach shows in a function's name, files start with a licence line, no #if outside base/port.h, and the like."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Prefixes of functions that cross files inside a folder, where they are not the folder's own name.
PREFIXES = {"kernel": ("kernel_", "kir_"), "http": ("http_",), "jit": ("jit_",)}
DEFINITION = re.compile(r"^(?:\[\[.*?\]\]\s*)*(?!static\b|typedef\b|else\b|return\b)[A-Za-z_][\w\s\*]*?[\s\*]([a-z_]\w*)\(")
# Word → why it must not appear in the tree.
FORBIDDEN = [
    (re.compile(r"\bTODO\b(?!\(#\d+\))|\bFIXME\b|\bXXX\b"), "a TODO needs an issue number: TODO(#12)"),
    (re.compile(r"\btypedef\s+(struct|enum|union)\b"), "no typedef for structs, unions or enums"),
    (re.compile(r"^\s*#\s*(if|ifdef|ifndef)\b"), "no #if outside base/port.h"),
    (re.compile(r"\b(strcpy|strcat|sprintf|strtok|atoi|gmtime|localtime|rand)\("), "a function that base/port.h forbids"),
    (re.compile(r"\b(malloc|calloc|realloc)\("), "use tw_alloc, tw_alloc_zero or tw_realloc"),
    (re.compile(r"/\*"), "comments are //"),
]
# file → patterns that are right there, with the reason beside them.
EXEMPT = {
    "base/port.h": {"#if"},   # the one place for it
    "base/fault.c": {"tw_alloc"},  # where tw_alloc is made
    "base/hash.c": {"tw_alloc"},   # OpenSSL's per-thread contexts: no caller could handle a failure
}


def strip_strings(line):
    line = re.sub(r'"(\\.|[^"\\])*"', '""', line)
    return re.sub(r"//.*", "", line)


def file_problems(path):
    relative = str(path.relative_to(ROOT / "src"))
    folder = relative.split("/")[0]
    text = path.read_text()
    lines = text.splitlines()
    if not lines or lines[0] != "// SPDX-License-Identifier: Apache-2.0":
        yield f"src/{relative}:1: the first line is not the licence"
    if path.suffix == ".h" and "#pragma once" not in text:
        yield f"src/{relative}:1: no #pragma once"
    for number, line in enumerate(lines, 1):
        code = strip_strings(line)
        for pattern, why in FORBIDDEN:
            subject = line if "TODO" in why else code
            if pattern.search(subject) and not any(word in why for word in EXEMPT.get(relative, ())):
                yield f"src/{relative}:{number}: {why}"
        if path.suffix == ".c" and not path.name.endswith("main.c"):
            yield from name_problems(relative, folder, number, code, lines)


def name_problems(relative, folder, number, code, lines):
    found = DEFINITION.match(code)
    if not found or code.rstrip().endswith(";"):
        return
    name = found.group(1)
    # A device's folder inside gpu/ is a prefix too: gpu/cpu/ has cpu_….
    allowed = ("tw_",) + PREFIXES.get(folder, (folder + "_",)) + tuple(part + "_" for part in relative.split("/")[1:-1])
    if not name.startswith(allowed):
        yield f"src/{relative}:{number}: {name}() is visible to other files; name it {' or '.join(p + '…' for p in allowed)} or make it static"


def main():
    problems = [p for path in sorted((ROOT / "src").rglob("*.[ch]")) for p in file_problems(path)]
    for problem in problems:
        print(problem)
    print(f"names: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
