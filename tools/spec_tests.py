#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs WebAssembly specification tests (.wast) through our engine's way of taking modules and straight through Wasmtime, and compares.

    tools/spec_tests.py FOLDER…            every .wast in it (and below, with --recurse)
    tools/spec_tests.py --verbose FILE     every command that failed or was skipped, too

Three runs of each file: rewritten with polls (how the server runs guests), rewritten without polls and with epochs, and plain: no rewrite
at all. A difference between the first two and the third is a fault of the rewrite, unless the host refuses the module by name.
The binaries are made by `wasm-tools json-from-wast` (cargo install wasm-tools; it knows all of WebAssembly 3.0), else by wabt's `wast2json`,
which is older and leaves many files out. Nothing of the public suite is in this tree: fetch it by hand. Our own cases are in tests/spec/cases;
script/test runs them.

Exit status: 0 all agree and nothing failed, 1 otherwise, 2 wrong use.
"""
import argparse
import collections
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODES = {"rewritten": [], "epoch": ["--epoch"], "plain": ["--plain"]}
WAST2JSON_FLAGS = [f"--enable-{name}" for name in ("exceptions", "extended-const", "function-references", "multi-memory", "relaxed-simd", "tail-call")]
TIMEOUT_S = 600

Line = collections.namedtuple("Line", "number command verdict why")


def convert(wast, folder):
    """The file's commands as JSON and its modules as binaries, in `folder`; (path, None) or (None, why not)."""
    made = pathlib.Path(folder) / "test.json"
    if shutil.which("wasm-tools"):
        command = ["wasm-tools", "json-from-wast", wast, "--wasm-dir", folder, "-o", made]
    elif shutil.which("wast2json"):
        command = ["wast2json", *WAST2JSON_FLAGS, wast, "-o", made]
    else:
        sys.exit("spec_tests.py: neither wasm-tools (cargo install wasm-tools) nor wast2json (package wabt) is installed")
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode == 0:
        return made, None
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return None, said[0] if said else f"exit status {done.returncode}"


def run(runner, flags, test):
    """What became of each command, and what ended the run early, if anything did."""
    try:
        done = subprocess.run([runner, *flags, test], capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return [], f"did not end within {TIMEOUT_S} s"
    lines = [Line(*line.split("\t", 3)) for line in done.stdout.splitlines()]
    if done.returncode == 0:
        return lines, None
    after = f" after line {lines[-1].number}" if lines else ""
    return lines, f"ended with status {done.returncode}{after}: {done.stderr.strip()}"


def agree(ours, plain):
    """Where the host refused by name, or could not go on because of that, there is nothing to compare."""
    return ours.verdict in (plain.verdict, "skip")


def check(runner, wast, name, verbose):
    """Runs one file. Counts of the server's way by verdict, reasons of skips, whether all is well."""
    with tempfile.TemporaryDirectory(prefix="tw-spec-") as folder:
        test, why = convert(wast, folder)
        if not test:
            print(f"{name}: left out: {why}")
            return None
        results, broken = {}, []
        for mode, flags in MODES.items():
            results[mode], end = run(runner, flags, test)
            if end:
                broken.append(f"{mode}: {end}")
    ours, plain = results["rewritten"], results["plain"]
    counts = collections.Counter(line.verdict for line in ours)
    reasons = collections.Counter(line.why for line in ours if line.verdict == "skip")
    differences = [(mode, mine, theirs) for mode in ("rewritten", "epoch") for mine, theirs in zip(results[mode], plain)
                   if not agree(mine, theirs)]
    print(f"{name}: {counts['pass']} passed, {counts['fail']} failed, {counts['skip']} skipped, {len(differences)} differ")
    for line in broken:
        print(f"    {line}")
    for mode, mine, theirs in differences:
        print(f"    line {mine.number}, {mine.command}: {mode} {mine.verdict} ({mine.why}), plain {theirs.verdict} ({theirs.why})")
    for line in ours:
        if line.verdict == "fail" or (verbose and line.verdict == "skip"):
            print(f"    line {line.number}, {line.command}: {line.verdict}: {line.why}")
    return counts, reasons, len(differences), bool(broken)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--recurse", action="store_true", help="folders within, too: those of proposals")
    parser.add_argument("--strict", action="store_true", help="a file that could not be converted is a failure")
    parser.add_argument("--verbose", action="store_true", help="skipped commands one by one")
    parser.add_argument("--runner", type=pathlib.Path, default=ROOT / "build/release/tests/spec_run", help="the built spec_run")
    return parser.parse_args()


def files_of(path, recurse):
    if path.is_file():
        return [path]
    return sorted(path.rglob("*.wast") if recurse else path.glob("*.wast"))


def main():
    options = arguments()
    files = [(file, path) for path in options.paths for file in files_of(path, options.recurse)]
    if not files:
        print("spec_tests.py: no .wast file there", file=sys.stderr)
        return 2
    if not options.runner.exists():
        print(f"spec_tests.py: {options.runner} is not built: cmake --build --preset release --target spec_run", file=sys.stderr)
        return 2
    total, reasons, differ, broken, left_out = collections.Counter(), collections.Counter(), 0, 0, 0
    for file, path in files:
        result = check(options.runner, file, str(file.relative_to(path)) if path.is_dir() else file.name, options.verbose)
        if not result:
            left_out += 1
            continue
        total += result[0]
        reasons += result[1]
        differ += result[2]
        broken += result[3]
    print(f"\n{len(files)} files, {left_out} left out, {broken} broken off; {differ} commands differ between with and without the rewrite")
    for why, count in reasons.most_common(12):
        print(f"    {count} skipped: {why}")
    print(f"{total['pass']} passed, {total['fail']} failed, {total['skip']} skipped")
    return 1 if differ or broken or total["fail"] or (options.strict and left_out) else 0


if __name__ == "__main__":
    sys.exit(main())
