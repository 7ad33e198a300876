#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when an #include breaks the table in tools/layers.txt, or a header of another folder is not its one public header."""
import fnmatch
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
# Headers beside FOLDER/FOLDER.h that a folder shows to others: base shows several, kernel the one that compiled code sees.
SHOWN = {"base": None, "kernel": {"kernel.h", "enums.h", "frame.h", "limits.h"}}


def read_table():
    allowed, fences = {}, []
    for line in (ROOT / "tools/layers.txt").read_text().splitlines():
        line = line.split("#")[0].strip()
        if line.startswith("<"):
            pattern, folders = line.split(" in ")
            fences.append((pattern[1:-1], set(folders.split())))
        elif line:
            folder, rest = line.split(":")
            allowed[folder] = set(rest.split())
    return allowed, fences


def problems_of(path, allowed, fences):
    relative = path.relative_to(ROOT / "src")
    folder = relative.parts[0]
    if folder not in allowed:
        yield f"{relative}: '{folder}' is not in tools/layers.txt"
        return
    for number, line in enumerate(path.read_text().splitlines(), 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        kind, name = found.groups()
        if kind == "<":
            for pattern, folders in fences:
                if fnmatch.fnmatch(name, pattern) and folder not in folders:
                    yield f"src/{relative}:{number}: <{name}> belongs to {', '.join(sorted(folders))}"
            continue
        target, _, rest = name.partition("/")
        if target == folder or (not rest and (path.parent / name).exists()):
            continue
        if target not in allowed[folder]:
            yield f"src/{relative}:{number}: {folder} may not use {target} ({name})"
        elif target in allowed and rest and not rest.endswith(".def"):
            shown = SHOWN.get(target, {f"{target}.h"})
            if shown is not None and rest not in shown:
                yield f"src/{relative}:{number}: {name} is private to {target}"


def main():
    allowed, fences = read_table()
    problems = [p for path in sorted((ROOT / "src").rglob("*.[ch]")) for p in problems_of(path, allowed, fences)]
    for problem in problems:
        print(problem)
    print(f"layers: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
