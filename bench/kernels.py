#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""CUDA kernels on the CPU device against C written for speed (clang -O3 -march=native -fopenmp -ffast-math) and, where the source is OpenCL
too, against pocl: on all cores, deadlines and sandbox on, the code that a busy kernel has after a moment (--tier full). The three run in turn, their results are compared once, and the median over the
rounds of the median launch of each counts. TW_KERNELS=a,b takes some kernels only, TW_LEAST=1 the least launch instead of the median (for a
machine that does other work too), OMP_NUM_THREADS=1 with taskset one core."""
import math
import os
import subprocess

import numpy

from common import BIN, OUT, ROOT, alternate, median, save, show, version

CLANG = "clang-22"
SOURCES = ROOT / "bench/kernels"
LEAST = bool(os.environ.get("TW_LEAST"))
TARGET_US = float(os.environ.get("TW_TARGET_MS", "250")) * 1e3
random = numpy.random.default_rng(1)


def floats(count):
    return ("in", random.random(count, dtype=numpy.float32))


def up(a, b):
    return -(-a // b)


def sparse(n):
    lengths = random.integers(4, 29, n)
    start = numpy.concatenate([[0], numpy.cumsum(lengths)]).astype(numpy.int32)
    column = random.integers(0, n, start[-1]).astype(numpy.int32)
    return [("in", start), ("in", column), floats(int(start[-1])), floats(n), ("out", 4 * n, "f4"), ("i32", n)]


def vector(n):
    return [floats(n), ("out", 4 * n, "f4"), ("i32", n)]


def matrix(n):
    return vector(n * n)[:2] + [("i32", n)]


def product(n):
    return [floats(n * n), floats(n * n), ("out", 4 * n * n, "f4"), ("i32", n)]


def line(threads):
    return lambda n: ((up(n, threads),), (threads,))


def plane(x, y):
    return lambda n: ((up(n, x), up(n, y)), (x, y))


def rows(n):
    return (n,), (256,)


def strides(threads):
    return lambda n: ((min(up(n, threads), 64),), (threads,))


strided = strides(256)


def sum_of(n):
    return [floats(n), ("out", 4, "f4"), ("i32", n)]


def product_of(n):
    return [floats(n), *sum_of(n)]


def added(n):
    return [floats(n), ("inout", random.random(n, dtype=numpy.float32), "f4"), ("f32", 0.5), ("i32", n)]


# name: source, grid and block, arguments, (amount, unit) for n, sizes
CASES = {
    "vector_add": ("stream", line(256), lambda n: [floats(n), floats(n), ("out", 4 * n, "f4"), ("i32", n)], (lambda n: 12 * n, "GB/s"), [1 << 12, 1 << 18, 1 << 23]),
    "saxpy": ("stream", strided, added, (lambda n: 12 * n, "GB/s"), [1 << 12, 1 << 18, 1 << 23]),
    "triad": ("stream", lambda n: line(256)(n // 4), lambda n: [floats(n), floats(n), ("out", 4 * n, "f4"), ("f32", 0.5), ("i32", n)], (lambda n: 12 * n, "GB/s"), [1 << 12, 1 << 18, 1 << 23]),
    "gelu": ("stream", line(256), vector, (lambda n: 8 * n, "GB/s"), [1 << 12, 1 << 18, 1 << 22]),
    "stencil9": ("stencil", plane(32, 8), matrix, (lambda n: 8 * n * n, "GB/s"), [128, 512, 2048]),
    "stencil7": ("stencil", lambda n: ((up(n, 32), up(n, 8), n), (32, 8)), lambda n: vector(n**3)[:2] + [("i32", n)], (lambda n: 8 * n**3, "GB/s"), [32, 64, 160]),
    "box5": ("stencil", plane(32, 8), lambda n: [("in", random.integers(0, 256, n * n).astype(numpy.uint8)), ("out", n * n, "u1"), ("i32", n)], (lambda n: 2 * n * n, "GB/s"), [128, 512, 2048]),
    "transpose": ("stencil", lambda n: ((n // 32, n // 32), (32, 8)), matrix, (lambda n: 8 * n * n, "GB/s"), [128, 512, 2048]),
    "sgemm_naive": ("gemm", plane(32, 8), product, (lambda n: 2 * n**3, "GFLOP/s"), [64, 256, 500]),
    "sgemm_tiled": ("gemm", plane(16, 16), product, (lambda n: 2 * n**3, "GFLOP/s"), [64, 256, 500]),
    "sgemm_registers": ("gemm", lambda n: ((n // 64, n // 64), (64,)), product, (lambda n: 2 * n**3, "GFLOP/s"), [64, 256, 512]),
    "matvec": ("reduce", lambda n: ((n // 8,), (256,)), lambda n: [floats(n * n), floats(n), ("out", 4 * n, "f4"), ("i32", n)], (lambda n: 4 * n * n, "GB/s"), [128, 512, 2048]),
    "reduce": ("reduce", strided, sum_of, (lambda n: 4 * n, "GB/s"), [1 << 12, 1 << 18, 1 << 23]),
    "dot": ("reduce", strided, product_of, (lambda n: 8 * n, "GB/s"), [1 << 12, 1 << 18, 1 << 23]),
    "softmax": ("reduce", rows, matrix, (lambda n: n * n, "Gelem/s"), [128, 512, 2048]),
    "layernorm": ("reduce", rows, matrix, (lambda n: n * n, "Gelem/s"), [128, 512, 2048]),
    "scan": ("reduce", line(256), vector, (lambda n: 8 * n, "GB/s"), [1 << 12, 1 << 18, 1 << 22]),
    "spmv": ("gather", line(128), sparse, (lambda n: 2 * 16 * n, "GFLOP/s"), [1 << 10, 1 << 14, 1 << 18]),
    "histogram": ("gather", strided, lambda n: [("in", random.integers(0, 256, n).astype(numpy.uint8)), ("out", 1024, "i4"), ("i32", n)], (lambda n: n, "Gelem/s"), [1 << 12, 1 << 18, 1 << 24]),
    "nbody": ("gather", line(128), lambda n: [floats(4 * n), ("out", 16 * n, "f4"), ("i32", n)], (lambda n: 20 * n * n, "GFLOP/s"), [256, 1024, 4096]),
    "mandelbrot": ("gather", plane(32, 8), lambda n: [("out", 4 * n * n, "i4"), ("i32", n)], (lambda n: n * n, "Gelem/s"), [64, 256, 1024]),
}
# The same in wider blocks, `kernel@threads`.
for threads in 512, 1024:
    CASES |= {
        f"saxpy@{threads}": ("stream", strides(threads), added, CASES["saxpy"][3], CASES["saxpy"][4]),
        f"reduce@{threads}": ("reduce", strides(threads), sum_of, CASES["reduce"][3], CASES["reduce"][4]),
        f"dot_wide@{threads}": ("reduce", strides(threads), product_of, CASES["dot"][3], CASES["dot"][4]),
    }


def call(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: {done.stderr}")
    least, middle = map(float, done.stdout.split()[-2:])
    return least if LEAST else middle


def build():
    OUT.mkdir(parents=True, exist_ok=True)
    twins = ROOT / "bench/twins"
    subprocess.run([CLANG, "-O3", "-march=native", "-fopenmp", "-ffast-math", twins / "openmp.c", "-o", OUT / "openmp", "-lm"], check=True)
    subprocess.run(["gcc", "-O2", twins / "opencl.c", "-o", OUT / "opencl", "-lOpenCL"], check=True)
    for source in {case[0] for case in CASES.values()}:
        subprocess.run([CLANG, "-x", "cuda", "--cuda-device-only", "--cuda-gpu-arch=sm_80", "--cuda-feature=+ptx78", "-nocudainc", "-nocudalib", "-Wno-c++11-narrowing",
                        "-O3", "-S", SOURCES / f"{source}.cu", "-o", OUT / f"{source}.ptx"], check=True)
        if source != "reduce":
            subprocess.run([CLANG, "-E", "-P", "-x", "c", SOURCES / f"{source}.cu", "-o", OUT / f"{source}.cl"], check=True)


# The arguments as text, inputs written to files; outputs of `who` go to files of its own. Returns those too.
def arguments(values, who):
    texts, outputs = [], []
    for index, (kind, *rest) in enumerate(values):
        data, result = OUT / f"arg{index}.bin", OUT / f"arg{index}.{who}.bin"
        if kind in ("in", "inout"):
            rest[0].tofile(data)
            texts.append(f"in:{data}" if kind == "in" else f"inout:{data}:{result}")
        elif kind == "out":
            texts.append(f"out:{rest[0]}:{result}")
        else:
            texts.append(f"{kind}:{rest[0]}")
        if kind in ("inout", "out"):
            outputs.append((result, rest[1]))
    return texts, outputs


def contender(who, name, n, values):
    source, shape, *_ = CASES[name]
    name = name.split("@")[0]
    texts, outputs = arguments(values, who)
    grid, block = (",".join(map(str, d)) for d in shape(n))
    commands = {
        "ours": lambda repeat: [BIN / "tensor-wasm", "kernel", "run", OUT / f"{source}.ptx", "--entry", name, "--grid", grid, "--block", block,
                                "--tier", "full", "--repeat", repeat, "--time", *texts],
        "C": lambda repeat: [OUT / "openmp", name, repeat, *texts],
        "pocl": lambda repeat: [OUT / "opencl", OUT / f"{source}.cl", name, repeat, grid, block, *texts],
    }
    return commands[who], outputs


def same(name, n, expected, found):
    for (a, kind), (b, _) in zip(expected, found):
        x, y = numpy.fromfile(a, kind).astype(float), numpy.fromfile(b, kind).astype(float)
        scale = max(1e-30, numpy.abs(x).max())
        wrong = numpy.abs(x - y) > (1e-4 * scale if kind == "f4" else 0)
        if wrong.mean() > (0.01 if name == "mandelbrot" else 0):  # a point of the border may go either way
            raise SystemExit(f"{name} {n}: {wrong.sum()} of {wrong.size} results in {b.name} differ from C's")


def measure(name, n):
    values = CASES[name][2](n)
    made = {who: contender(who, name, n, values) for who in ("C", "ours", "pocl") if who != "pocl" or CASES[name][0] != "reduce"}
    for who, (command, outputs) in made.items():
        call(*command(1))
        same(name, n, made["C"][1], outputs)
    runs = {}
    for who, (command, _) in made.items():
        repeat = int(min(max(TARGET_US / max(call(*command(5)), 1), 5), 50000))
        runs[who] = lambda command=command, repeat=repeat: call(*command(repeat))
    return alternate(runs)


def geomean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def main():
    build()
    chosen = os.environ.get("TW_KERNELS", ",".join(CASES)).split(",")
    table, summary, rounds = [], {}, {}
    for name in chosen:
        _, _, _, (amount, unit), sizes = CASES[name]
        for n in sizes:
            figures = measure(name, n)
            times = {who: median(values) for who, values in figures.items()}
            pocl = times.get("pocl")
            table.append([f"{name} {n}", times["ours"], times["C"], pocl or "-", f"{amount(n) / times['ours'] / 1e3:.3g} {unit}", times["C"] / times["ours"],
                          pocl / times["ours"] if pocl else "-"])
            summary[f"{name} {n}"] = times | {unit: amount(n) / times["ours"] / 1e3, "x C": times["C"] / times["ours"]}
            rounds[f"{name} {n}"] = figures
            print("  ".join(cell if isinstance(cell, str) else f"{cell:.4g}" for cell in table[-1]), flush=True)
    show("Kernels on the CPU device, us a launch", ["kernel n", "ours", "C", "pocl", "ours is", "x C", "x pocl"], table)
    for index, other in ((5, "C"), (6, "pocl")):
        for place, label in ((None, "all"), (2, "the largest size")):
            ratios = [row[index] for i, row in enumerate(table) if row[index] != "-" and (place is None or i % 3 == place)]
            if ratios:
                print(f"  geomean x {other}, {label}: {geomean(ratios):.2f}")
    if chosen == list(CASES):
        save("kernels", {"launches": "least" if LEAST else "median", "usable cores": len(os.sched_getaffinity(0)), "clang": version(CLANG, "--version"), "pocl": version("dpkg-query", "-W", "-f", "${Version}", "pocl-opencl-icd")}, rounds, summary)


if __name__ == "__main__":
    main()
