#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long kernels take to compile, light and full in turn, in a process of the compiler that has just been forked, as a first launch finds it: by part,
p50 and p99 over all kernels of bench/kernels and all rounds. Then how long it is from PTX to the end of the first launch in one process: compiled, from the
cache of another process, and known to this one (bench/load.c). TW_KERNELS=a,b takes some kernels only."""
import os
import re
import subprocess

from common import BIN, OUT, ROOT, alternate, median, save, show, version

CLANG = "clang-22"
PARTS = ["parse", "simplify", "analyse", "emit", "passes", "code", "all"]


def build():
    """{kernel: file of PTX}"""
    OUT.mkdir(parents=True, exist_ok=True)
    found = {}
    for source in sorted((ROOT / "bench/kernels").glob("*.cu")):
        ptx = OUT / f"{source.stem}.ptx"
        subprocess.run([CLANG, "-x", "cuda", "--cuda-device-only", "--cuda-gpu-arch=sm_80", "--cuda-feature=+ptx78", "-nocudainc", "-nocudalib",
                        "-Wno-c++11-narrowing", "-O3", "-S", source, "-o", ptx], check=True)
        found |= {name: ptx for name in re.findall(r"\.entry (\w+)", ptx.read_text())}
    chosen = os.environ.get("TW_KERNELS", ",".join(found)).split(",")
    return {name: file for name, file in found.items() if name in chosen}


def lines(name, file):
    """Of the kernel's text alone, without empty ones and comments."""
    text = file.read_text()
    body = text[re.search(rf"\.entry {name}\(", text).start():]
    return sum(1 for line in body[:body.index("\n}")].splitlines() if line.strip() and not line.strip().startswith("//")) + 1


def compile_once(name, file, tier):
    done = subprocess.run([BIN / "tensor-wasm", "kernel", "dump", file, "--stage", "time", "--entry", name, "--tier", tier],
                          capture_output=True, text=True, check=True)
    return {part: int(number) for part, number in map(str.split, done.stdout.splitlines())}


LOADS = ["in-a-row", "paused", "cached", "loaded"]


def load_once(name, file):
    """{way: p50 of PTX to first run, us}"""
    done = subprocess.run([ROOT / "build/release/bench/bench_load", file, name], capture_output=True, text=True, check=True)
    return {way: float(figures.split()[1]) for way, figures in (line.split(" ", 1) for line in done.stdout.splitlines())}


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def main():
    kernels = build()
    rounds, table = {}, []
    for name, file in kernels.items():
        rounds[name] = alternate({tier: (lambda tier=tier: compile_once(name, file, tier)) for tier in ("light", "full")})
        for tier, figures in rounds[name].items():
            table.append([f"{name} {tier}", lines(name, file)] + [median([f[part] for f in figures]) for part in PARTS + ["bytes"]])
    show("Compiling kernels, us (median of the rounds)", ["kernel", "lines of PTX", *PARTS, "bytes"], table)
    summary = {}
    for tier in ("light", "full"):
        every = [f["all"] for figures in rounds.values() for f in figures[tier]]
        summary[tier] = {"p50 us": percentile(every, 0.5), "p99 us": percentile(every, 0.99), "least us": min(every)}
        print(f"  {tier}: " + ", ".join(f"{key} {value}" for key, value in summary[tier].items()))
    subprocess.run(["cmake", "--build", "--preset", "release", "--target", "bench_load"], cwd=ROOT, check=True, capture_output=True)
    loads = alternate({name: (lambda name=name: load_once(name, kernels[name])) for name in ("vector_add", "spmv", "softmax") if name in kernels})
    medians = {name: {way: median([f[way] for f in figures]) for way in LOADS} for name, figures in loads.items()}
    show("From PTX to the end of the first launch, us (p50 of 60, median of the rounds)", ["kernel", *LOADS],
         [[name] + [figures[way] for way in LOADS] for name, figures in medians.items()])
    rounds["load"], summary["load"] = loads, medians
    summary["lines of PTX"] = {name: lines(name, file) for name, file in kernels.items()}
    if "TW_KERNELS" not in os.environ:
        save("compile", {"clang": version(CLANG, "--version")}, rounds, summary)


if __name__ == "__main__":
    main()
