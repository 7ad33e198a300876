# SPDX-License-Identifier: Apache-2.0
"""Kernels printed back as PTX (`kernel dump --stage ptx`): the printed text computes what the original does, to the bit, and NVIDIA's
assembler takes it where there is one (TW_PTXAS=path of ptxas, or script/fetch-ptxas)."""
import os
import pathlib
import re
import shutil
import subprocess

import numpy
import pytest

from test_kernels import F32, I32, Runner, whole
from twtest.build import kernel
from twtest.paths import PROGRAM, SLOW
from twtest.server import clean_environment

ENTRIES = [("vector_add", "vector_add"), ("saxpy", "saxpy"), ("reduce", "reduce_shared"), ("reduce", "reduce_shuffle"), ("sgemm", "sgemm"),
           ("softmax", "softmax"), ("convolution", "convolution"), ("histogram", "histogram_shared"), ("histogram", "histogram_global"),
           ("calls", "calls")]


def dump(path, entry, *more):
    done = subprocess.run([PROGRAM, "kernel", "dump", path, "--stage", "ptx", "--entry", entry, *more], capture_output=True, text=True,
                          timeout=60 * SLOW, env=clean_environment())
    assert done.returncode == 0, done.stderr
    return done.stdout


def outputs(folder, path, entry, fence=(), status=0):
    """What the kernel of this file computes from inputs that are always the same. `fence`: base and mask of a fenced kernel."""
    runner, n = Runner(folder), 5000
    rng = numpy.random.default_rng(9)
    a, b = rng.standard_normal(n).astype(F32), rng.standard_normal(n).astype(F32)
    grid, block = 20, 256
    if entry == "vector_add":
        arguments = [("in", a), ("in", b), ("out", numpy.zeros(n, F32)), n]
    elif entry == "saxpy":
        arguments = [2.5, ("in", a), ("inout", b), n]
    elif entry.startswith("reduce"):
        arguments = [("in", whole(n, 1)), ("inout", numpy.zeros(grid, F32)), n]
    elif entry == "sgemm":
        arguments, grid, block = [("in", a[:17 * 5]), ("in", b[:5 * 33]), ("out", numpy.zeros(17 * 33, F32)), 17, 33, 5], (3, 2), (16, 16)
    elif entry == "softmax":
        arguments = [("in", a), ("out", numpy.zeros(n, F32)), n // 20]
    elif entry == "convolution":
        arguments, grid, block = [("in", a[:17 * 40]), ("out", numpy.zeros(17 * 40, F32)), 40, 17], (3, 3), (16, 8)
    else:
        arguments = [("in", rng.integers(0, 256, n).astype(numpy.uint8)), ("inout", numpy.zeros(256, I32)), n]
    for argument in arguments:
        if isinstance(argument, tuple):
            runner.buffer(*argument)
        else:
            runner.scalar("f32" if isinstance(argument, float) else "i32", argument)
    for number in fence:
        runner.scalar("u64", number)
    return runner.run(path, entry, grid, block, status=status)


@pytest.mark.parametrize("name, entry", ENTRIES[:-1])
def test_the_printed_kernel_computes_the_same(tmp_path, name, entry):
    printed = tmp_path / "printed.ptx"
    printed.write_text(dump(kernel(name), entry))
    wanted, told = outputs(tmp_path, kernel(name), entry), outputs(tmp_path, printed, entry)
    assert numpy.any(wanted) and numpy.array_equal(wanted, told)


ARENA_MASK = (1 << 33) - 1  # addresses on the CPU device are offsets in 8 GiB


@pytest.mark.parametrize("name, entry", ENTRIES[:-1])
def test_the_fence_changes_nothing_inside_and_lets_nothing_out(tmp_path, name, entry):
    fenced = tmp_path / "fenced.ptx"
    fenced.write_text(dump(kernel(name), entry, "--fence"))
    wanted, told = outputs(tmp_path, kernel(name), entry), outputs(tmp_path, fenced, entry, (0, ARENA_MASK))
    assert numpy.any(wanted) and numpy.array_equal(wanted, told)
    # The same kernel, fenced into the first page, where nothing is: it faults instead of reaching its buffers.
    assert "launch_failed" in outputs(tmp_path, fenced, entry, (0, 4095), status=1)


@pytest.mark.parametrize("name, entry", ENTRIES)
def test_printing_what_was_printed_changes_nothing(tmp_path, name, entry):
    printed = tmp_path / "printed.ptx"
    printed.write_text(dump(kernel(name), entry))
    assert printed.read_text() == dump(printed, entry)


@pytest.mark.parametrize("sm", [70, 80, 90])
@pytest.mark.parametrize("name, entry", ENTRIES)
def test_ptxas_takes_the_printed_kernel(tmp_path, name, entry, sm):
    fetched = pathlib.Path.home() / ".cache/tensor-wasm/ptxas"
    ptxas = os.environ.get("TW_PTXAS") or shutil.which("ptxas") or (fetched if fetched.exists() else None)
    if not ptxas:
        pytest.skip("there is no ptxas here; script/fetch-ptxas gets it, or set TW_PTXAS to its path")
    for more in ([], ["--fence"]) if name != "calls" else ([],):  # an address in an initialiser cannot be fenced: that is refused
        printed = tmp_path / "printed.ptx"
        printed.write_text(re.sub(r"\.target sm_\d+", f".target sm_{sm}", dump(kernel(name), entry, *more)))
        done = subprocess.run([ptxas, f"-arch=sm_{sm}", printed, "-o", tmp_path / "printed.cubin"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
