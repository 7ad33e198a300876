# SPDX-License-Identifier: Apache-2.0
"""The golden kernels, compiled from CUDA, run by `tensor-wasm kernel run` and compared with numpy. Whole numbers small enough make float32 sums
exact in any order, so most results have to be equal to the bit."""
import subprocess

import numpy
import pytest

from twtest.build import kernel
from twtest.paths import PROGRAM, SLOW
from twtest.server import clean_environment

F32, I32 = numpy.float32, numpy.int32


class Runner:
    """Collects a kernel's arguments, runs it, reads its outputs."""

    def __init__(self, folder):
        self.folder, self.args, self.outputs = folder, [], []

    def scalar(self, kind, value):
        self.args.append(f"{kind}:{value}")

    def buffer(self, kind, data):
        """kind in, out (data tells size and type) or inout."""
        path = self.folder / f"{len(self.args)}.bin"
        data.tofile(path)
        if kind != "in":
            self.outputs.append((path, data))
        self.args.append({"in": f"in:{path}", "out": f"out:{data.nbytes}:{path}", "inout": f"inout:{path}:{path}"}[kind])

    def run(self, name, entry, grid, block, *more, status=0):
        """name: of a golden kernel, or the path of a file of PTX. What it computed, or where it has to fail what it says then."""
        text = lambda dims: ",".join(str(d) for d in (dims if isinstance(dims, tuple) else (dims,)))
        file = kernel(name) if isinstance(name, str) else name
        done = subprocess.run([PROGRAM, "kernel", "run", file, "--entry", entry, "--grid", text(grid), "--block", text(block), "--device",
                               "cpu", *more, *self.args], capture_output=True, text=True, timeout=60 * SLOW, env=clean_environment())
        assert done.returncode == status, done.stderr
        if status:
            return done.stderr
        self.stdout = done.stdout
        told = [numpy.fromfile(path, data.dtype).reshape(data.shape) for path, data in self.outputs]
        return told[0] if len(told) == 1 else told


@pytest.fixture
def runner(tmp_path):
    return Runner(tmp_path)


def whole(n, seed, top=9):
    """n small whole numbers as float32."""
    return numpy.random.default_rng(seed).integers(-top, top + 1, n).astype(F32)


@pytest.mark.parametrize("n", [1, 31, 257, 65_537, 1_000_000])
def test_vector_add(runner, n):
    rng = numpy.random.default_rng(n)
    a, b = rng.standard_normal(n).astype(F32), rng.standard_normal(n).astype(F32)
    runner.buffer("in", a)
    runner.buffer("in", b)
    runner.buffer("out", numpy.zeros(n + 1, F32))  # one more, to see that nothing beyond is written
    runner.scalar("i32", n)
    told = runner.run("vector_add", "vector_add", (n + 255) // 256, 256)
    assert numpy.array_equal(told[:n], a + b) and told[n] == 0


@pytest.mark.parametrize("n, block", [(1, 32), (1000, 128), (100_003, 256), (100_003, 7)])
def test_saxpy(runner, n, block):
    x, y = whole(n, 1, 1000), whole(n, 2, 1000)
    runner.scalar("f32", 2.5)
    runner.buffer("in", x)
    runner.buffer("inout", y)
    runner.scalar("i32", n)
    assert numpy.array_equal(runner.run("saxpy", "saxpy", 13, block), F32(2.5) * x + y)


@pytest.mark.parametrize("m, n, k", [(1, 1, 1), (16, 16, 16), (17, 33, 5), (64, 48, 100), (200, 129, 77)])
def test_sgemm(runner, m, n, k):
    a, b = whole(m * k, 3).reshape(m, k), whole(k * n, 4).reshape(k, n)
    for kind, data in (("in", a), ("in", b), ("out", numpy.zeros((m, n), F32))):
        runner.buffer(kind, data)
    for value in (m, n, k):
        runner.scalar("i32", value)
    told = runner.run("sgemm", "sgemm", ((n + 15) // 16, (m + 15) // 16), (16, 16))
    assert numpy.array_equal(told, a.astype(numpy.int64) @ b.astype(numpy.int64))


@pytest.mark.parametrize("n, blocks", [(1, 1), (255, 2), (4096, 4), (123_457, 9)])
def test_reduce_shared(runner, n, blocks):
    data = whole(n, 5)
    runner.buffer("in", data)
    runner.buffer("out", numpy.zeros(blocks, F32))
    runner.scalar("i32", n)
    block_of = numpy.arange(n) // 256 % blocks
    wanted = [data[block_of == b].astype(numpy.int64).sum() for b in range(blocks)]
    assert numpy.array_equal(runner.run("reduce", "reduce_shared", blocks, 256), wanted)


@pytest.mark.parametrize("n, blocks, block", [(1, 1, 32), (1000, 3, 64), (123_457, 8, 256)])
def test_reduce_shuffle(runner, n, blocks, block):
    data = whole(n, 6)
    runner.buffer("in", data)
    runner.buffer("inout", numpy.full(1, 100, F32))
    runner.scalar("i32", n)
    assert runner.run("reduce", "reduce_shuffle", blocks, block)[0] == 100 + data.astype(numpy.int64).sum()


@pytest.mark.parametrize("rows, columns", [(1, 1), (3, 100), (16, 256), (5, 1000)])
def test_softmax(runner, rows, columns):
    data = numpy.random.default_rng(rows).uniform(-20, 20, (rows, columns)).astype(F32)
    runner.buffer("in", data)
    runner.buffer("out", numpy.zeros_like(data))
    runner.scalar("i32", columns)
    exact = numpy.exp(data.astype(numpy.float64) - data.max(1, keepdims=True))
    exact /= exact.sum(1, keepdims=True)
    told = runner.run("softmax", "softmax", rows, 256)
    # exp is ex2.approx of a rounded product: up to 40 * 2^-24 of relative error, plus the sums' own.
    assert numpy.allclose(told, exact, rtol=2e-5, atol=1e-12) and numpy.allclose(told.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("entry", ["histogram_shared", "histogram_global"])
@pytest.mark.parametrize("n, blocks, block", [(1, 1, 256), (10_000, 4, 128), (1_000_003, 16, 256)])
def test_histogram(runner, entry, n, blocks, block):
    data = numpy.random.default_rng(n).integers(0, 256, n).astype(numpy.uint8)
    data[: n // 3] = 7  # many lanes count the same bin
    runner.buffer("in", data)
    runner.buffer("inout", numpy.zeros(256, I32))
    runner.scalar("i32", n)
    assert numpy.array_equal(runner.run("histogram", entry, blocks, block), numpy.bincount(data, minlength=256))


@pytest.mark.parametrize("height, width", [(1, 1), (3, 3), (17, 40), (200, 333)])
def test_convolution(runner, height, width):
    image = whole(height * width, 7).reshape(height, width)
    runner.buffer("in", image)
    runner.buffer("out", numpy.zeros_like(image))
    runner.scalar("i32", width)
    runner.scalar("i32", height)
    padded = numpy.pad(image.astype(numpy.int64), 1)
    weights = [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    wanted = sum(weights[y][x] * padded[y:y + height, x:x + width] for y in range(3) for x in range(3))
    assert numpy.array_equal(runner.run("convolution", "convolution", ((width + 15) // 16, (height + 7) // 8), (16, 8)), wanted)


def test_the_time_is_the_last_number(runner):
    for kind in ("in", "in", "out"):
        runner.buffer(kind, whole(1000, 8))
    runner.scalar("i32", 1000)
    runner.run("vector_add", "vector_add", 4, 256, "--repeat", "20", "--time")
    assert 0 < float(runner.stdout.split()[-1]) < 1e6


FAR = """.version 7.0
.target sm_70
.address_size 64
.visible .entry k(.param .u64 p) {
 .reg .b64 %rd<3>;
 .reg .b32 %r<2>;
 ld.param.u64 %rd0, [p];
 mov.u64 %rd1, 0x200000000000;
 add.u64 %rd2, %rd0, %rd1;
 mov.u32 %r0, 7;
 st.global.u32 [%rd2], %r0;
 ret;
}
"""


def test_addresses_are_confined_unless_one_asks_for_the_opposite(runner, tmp_path):
    """2^45 bytes behind the buffer: inside the arena that is the buffer again; without the sandbox it is nowhere."""
    text = tmp_path / "far.ptx"
    text.write_text(FAR)
    runner.buffer("out", numpy.zeros(1, I32))
    assert list(runner.run(text, "k", 1, 1)) == [7]
    assert "launch_failed" in runner.run(text, "k", 1, 1, "--unconfined", status=1)


def test_unconfined_code_computes_the_same(runner):
    a, b = whole(1000, 1), whole(1000, 2)
    runner.buffer("in", a)
    runner.buffer("in", b)
    runner.buffer("out", numpy.zeros(1000, F32))
    runner.scalar("i32", 1000)
    for tier in ("light", "full"):
        assert (runner.run("vector_add", "vector_add", 4, 256, "--unconfined", "--tier", tier) == a + b).all()
