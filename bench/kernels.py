#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""CUDA kernels on the CPU device against plain C (clang -O3 -march=native -fopenmp) and against pocl, on all cores: median microseconds
of a launch, deadlines and sandbox on."""
import subprocess

import numpy

from common import BIN, OUT, ROOT, alternate, median, save, show, version

CLANG = "clang-22"
GOLDEN = ROOT / "tests/golden/ptx"
CASES = [("vector_add", 1 << 16, 400), ("vector_add", 1 << 24, 20), ("sgemm", 512, 20), ("sgemm", 500, 20)]


def last_number(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]}: {done.stderr}")
    return float(done.stdout.split()[-1])


def build():
    OUT.mkdir(parents=True, exist_ok=True)
    twins = ROOT / "bench/twins"
    subprocess.run([CLANG, "-O3", "-march=native", "-fopenmp", "-ffp-contract=fast", twins / "openmp.c", "-o", OUT / "openmp"], check=True)
    subprocess.run(["gcc", "-O2", "-w", twins / "opencl.c", "-o", OUT / "opencl", "-lOpenCL"], check=True)
    for name in {case[0] for case in CASES}:
        subprocess.run([CLANG, "-x", "cuda", "--cuda-device-only", "--cuda-gpu-arch=sm_80", "--cuda-feature=+ptx78", "-nocudainc",
                        "-nocudalib", "-O3", "-S", GOLDEN / f"{name}.cu", "-o", OUT / f"{name}.ptx"], check=True)


def ours(name, n, repeat):
    count = n * n if name == "sgemm" else n
    for index, letter in enumerate("ab"):
        numpy.resize(numpy.arange(7 - 2 * index, dtype=numpy.float32), count).tofile(OUT / f"{letter}.bin")
    buffers = [f"in:{OUT}/a.bin", f"in:{OUT}/b.bin", f"out:{count * 4}:{OUT}/c.bin"]
    blocks = (n + 15) // 16
    shape = ["--grid", f"{blocks},{blocks}", "--block", "16,16"] if name == "sgemm" else ["--grid", str((n + 255) // 256), "--block", "256"]
    sizes = [f"i32:{n}"] * 3 if name == "sgemm" else [f"i32:{n}"]
    return lambda: last_number(BIN / "tensor-wasm", "kernel", "run", OUT / f"{name}.ptx", "--entry", name, *shape, "--repeat", repeat, "--time",
                               *buffers, *sizes)


def figure(name, n, us):
    return 3 * 4 * n / us / 1e3 if name == "vector_add" else 2 * n**3 / us / 1e3


def main():
    build()
    rows, summary, rounds = [], {}, {}
    for name, n, repeat in CASES:
        figures = alternate({"ours": ours(name, n, repeat), "C": lambda: last_number(OUT / "openmp", name, n, repeat),
                             "pocl": lambda: last_number(OUT / "opencl", name, n, repeat)})
        times = {k: median(v) for k, v in figures.items()}
        unit = "GB/s" if name == "vector_add" else "GFLOP/s"
        rows.append([f"{name} {n}", *(times[k] for k in ("ours", "C", "pocl")), f"{figure(name, n, times['ours']):.1f} {unit}",
                     times["C"] / times["ours"], times["pocl"] / times["ours"]])
        summary[f"{name} {n}"] = times
        rounds[f"{name} {n}"] = figures
    show("Kernels on the CPU device, all cores, us a launch", ["kernel", "ours", "C", "pocl", "ours is", "x C", "x pocl"], rows)
    save("kernels", {"clang": version(CLANG, "--version"), "pocl": version("dpkg-query", "-W", "-f", "${Version}", "pocl-opencl-icd")}, rounds, summary)


if __name__ == "__main__":
    main()
