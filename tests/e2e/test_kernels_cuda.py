# SPDX-License-Identifier: Apache-2.0
"""Kernels as CUDA programs have them (tests/golden/ptx/{warps,numeric,graphs,language,tensors}.cu), compared with numpy and plain Python."""
import subprocess
import zlib

import numpy
import pytest

from test_kernels import F32, I32, Runner
from twtest.build import kernel
from twtest.paths import PROGRAM, SLOW
from twtest.server import clean_environment


@pytest.fixture
def run(tmp_path):
    """run(file, entry, grid, block, arguments…): numbers, and pairs of "in", "out" or "inout" and an array."""
    def call(file, entry, grid, block, *arguments, more=()):
        runner = Runner(tmp_path)
        for argument in arguments:
            if isinstance(argument, tuple):
                runner.buffer(*argument)
            else:
                runner.scalar("f32" if isinstance(argument, float) else "i32" if argument < 2**31 else "i64", argument)
        told = runner.run(file, entry, grid, block, *more)
        call.stdout = runner.stdout
        return told
    return call


def numbers(n, low, high, dtype=I32, seed=1):
    return numpy.random.default_rng(seed).integers(low, high, n).astype(dtype)


def floats(*shape, seed=1):
    return numpy.random.default_rng(seed).standard_normal(shape).astype(F32)


def empty(n, dtype=I32):
    return ("out", numpy.zeros(n, dtype))


# ---- warps ----

@pytest.mark.parametrize("n", [1, 33, 200, 256])
def test_scan(run, n):
    data = numbers(n, -50, 50)
    assert numpy.array_equal(run("warps", "scan", 1, 256, ("in", data), empty(n), n), numpy.cumsum(data))


def test_compact(run):
    data = numbers(1000, 0, 9999)
    out, count = run("warps", "compact", 8, 128, ("in", data), empty(1000), ("inout", numpy.zeros(1, I32)), 1000)
    odd = data[data % 2 == 1]
    assert count[0] == len(odd) and numpy.array_equal(numpy.sort(out[: len(odd)]), numpy.sort(odd))


def test_count_keys(run):
    keys = numbers(512, 0, 9)
    assert numpy.array_equal(run("warps", "count_keys", 2, 256, ("in", keys), ("inout", numpy.zeros(9, I32))), numpy.bincount(keys, minlength=9))


def test_votes(run):
    data = numbers(256, 0, 100)
    data[32:64] = 5
    warps = data.reshape(8, 32)
    wanted = numpy.repeat((warps > 0).all(1) * 2 + (warps > 90).any(1), 32)
    assert numpy.array_equal(run("warps", "votes", 1, 256, ("in", data), empty(256)), wanted)


def test_bitonic(run):
    data = floats(512)
    assert numpy.array_equal(run("warps", "bitonic", 1, 256, ("inout", data)), numpy.sort(data))


def test_radix_sort(run):
    data = numbers(256, 0, 2**32, numpy.uint32)
    told = data
    for shift in range(0, 32, 4):
        told = run("warps", "radix_pass", 1, 256, ("in", told), empty(256, numpy.uint32), shift)
    assert numpy.array_equal(told, numpy.sort(data))


# ---- numbers ----

@pytest.mark.parametrize("height, width", [(16, 16), (33, 70)])
def test_transpose(run, height, width):
    data = floats(height, width)
    told = run("numeric", "transpose", ((width + 15) // 16, (height + 15) // 16), (16, 16), ("in", data), empty((width, height), F32), width, height)
    assert numpy.array_equal(told, data.T)


def test_sparse_matrix(run):
    counts = numbers(50, 0, 90)
    starts = numpy.concatenate([[0], numpy.cumsum(counts)]).astype(I32)
    columns, values, x = numbers(starts[-1], 0, 64), numbers(starts[-1], -4, 5).astype(F32), numbers(64, -4, 5, F32, 2)
    wanted = [(values[a:b] * x[columns[a:b]]).sum() for a, b in zip(starts, starts[1:])]
    assert numpy.array_equal(run("numeric", "spmv", 13, 128, *[("in", v) for v in (starts, columns, values, x)], empty(50, F32), 50), wanted)


def test_double_matrix(run):
    a, x = numpy.random.default_rng(1).random((64, 64)), numpy.random.default_rng(2).random(64)
    assert numpy.allclose(run("numeric", "dgemv", 2, 32, ("in", a), ("in", x), empty(64, float), 64), a @ x, rtol=1e-13)


def test_layernorm(run):
    data = floats(5, 300)
    wanted = (data - data.mean(1, keepdims=True)) / numpy.sqrt(data.var(1, keepdims=True) + 1e-5)
    assert numpy.allclose(run("numeric", "layernorm", 5, 128, ("in", data), empty((5, 300), F32), 300), wanted, atol=1e-4)


def test_attention(run):
    q, k, v = (floats(64, 16, seed=s) for s in (1, 2, 3))
    weights = numpy.exp(q.astype(float) @ k.T.astype(float))
    told = run("numeric", "attention", 2, 32, ("in", q), ("in", k), ("in", v), empty((64, 16), F32), 64)
    assert numpy.allclose(told, weights / weights.sum(1, keepdims=True) @ v, atol=1e-4)


def test_adam(run):
    w, g, m, v = floats(100), floats(100, seed=2), floats(100, seed=3), numpy.abs(floats(100, seed=4))
    m2, v2 = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    told = run("numeric", "adam", 1, 128, ("inout", w), ("in", g), ("inout", m), ("inout", v), 0.01, 100)
    assert all(numpy.allclose(a, b, atol=1e-6) for a, b in zip(told, (w - 0.01 * m2 / (numpy.sqrt(v2) + 1e-8), m2, v2)))


def test_maxpool(run):
    data = floats(6, 16, 16)
    told = run("numeric", "maxpool", 3, (8, 8, 2), ("in", data), empty((6, 8, 8), F32), 16)
    assert numpy.array_equal(told, data.reshape(6, 8, 2, 8, 2).max((2, 4)))


def test_fft(run):
    re, im = floats(256), floats(256, seed=2)
    told = run("numeric", "fft", 1, 128, ("in", re), ("in", im), empty(256, F32), empty(256, F32))
    assert numpy.allclose(told[0] + 1j * told[1], numpy.fft.fft(re + 1j * im), atol=1e-3)


def test_nbody(run):
    x, y = floats(100), floats(100, seed=2)
    dx, dy = x - x[:, None], y - y[:, None]
    cube = (dx**2 + dy**2 + 0.01) ** -1.5
    told = run("numeric", "nbody", 2, 64, ("in", x), ("in", y), empty(100, F32), empty(100, F32), 100)
    assert numpy.allclose(told[0], (dx * cube).sum(1), rtol=1e-3, atol=1e-2) and numpy.allclose(told[1], (dy * cube).sum(1), rtol=1e-3, atol=1e-2)


def test_mandelbrot(run):
    told = run("numeric", "mandelbrot", (4, 4), (16, 16), empty((64, 64)), 64, 50)
    c = (numpy.arange(64) * 3.0 / 64 - 2) + 1j * (numpy.arange(64) * 2.0 / 64 - 1)[:, None]
    z, steps = numpy.zeros_like(c), numpy.zeros(c.shape, I32)
    for _ in range(50):
        inside = z.real**2 + z.imag**2 < 4
        steps += inside
        z[inside] = (z**2 + c)[inside]
    assert (told == steps).mean() > 0.999  # a fused multiply-add may decide otherwise on the border


def test_life(run):
    data = numbers((50, 50), 0, 2, numpy.uint8)
    around = sum(numpy.roll(data, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)) - data
    told = run("numeric", "life", (7, 7), (8, 8), ("in", data), empty((50, 50), numpy.uint8), 50)
    assert numpy.array_equal(told, (around == 3) | ((around == 2) & (data == 1)))


def test_heat_in_three_dimensions(run):
    data = floats(10, 10, 10)
    told = run("numeric", "heat3", (2, 3, 4), (5, 4, 3), ("in", data), ("inout", numpy.zeros_like(data)), 10)
    wanted = sum(numpy.roll(data, s, a) for s in (1, -1) for a in (0, 1, 2))[1:-1, 1:-1, 1:-1] / 6
    assert numpy.allclose(told[1:-1, 1:-1, 1:-1], wanted, atol=1e-6) and not told[0].any()


def test_random_points_in_a_circle(run):
    told = run("numeric", "circle", 4, 64, ("inout", numpy.zeros(1, I32)), 100)[0]
    s, hits = (numpy.arange(256, dtype=numpy.uint32) * numpy.uint32(2654435761) + 1).astype(numpy.uint32), 0
    for _ in range(100):
        for shift, left in ((13, True), (17, False), (5, True)):
            s ^= s << numpy.uint32(shift) if left else s >> numpy.uint32(shift)
        x, y = (s >> 16).astype(numpy.uint64), (s & 0xffff).astype(numpy.uint64)
        hits += (x * x + y * y < 2**32).sum()
    assert told == hits


def test_collatz(run):
    data = numbers(64, 1, 10**9, numpy.uint64)

    def steps(v):
        n = 0
        while v != 1:
            v, n = (3 * v + 1 if v & 1 else v // 2), n + 1
        return n
    assert list(run("numeric", "collatz", 1, 64, ("in", data), empty(64))) == [steps(int(v)) for v in data]


def test_gcd(run):
    a, b = numbers(96, 0, 10**15, numpy.int64), numbers(96, 1, 10**9, numpy.int64, 2)
    assert numpy.array_equal(run("numeric", "gcd", 3, 32, ("in", a), ("in", b), empty(96, numpy.int64)), numpy.gcd(a, b))


def test_mulmod(run):
    a, b, m = numbers(64, 0, 2**63, numpy.uint64), numbers(64, 0, 2**63, numpy.uint64, 2), 2**61 - 1
    told = run("numeric", "mulmod", 1, 64, ("in", a), ("in", b), empty(64, numpy.uint64), m)
    assert [int(v) for v in told] == [int(x) * int(y) % m for x, y in zip(a, b)]


def test_halves(run):
    a, b = floats(64).astype(numpy.float16), floats(64, seed=2).astype(numpy.float16)
    told = run("numeric", "halves", 1, 64, ("in", a), ("in", b), empty(64, numpy.float16))
    assert numpy.array_equal(told, (a.astype(float) * b.astype(float) + 1).astype(numpy.float16))  # fused, as clang does by default


# ---- graphs ----

@pytest.fixture(scope="module")
def graph():
    rng = numpy.random.default_rng(5)
    edges = sorted({(int(a), int(b)) for a, b in rng.integers(0, 200, (600, 2))})
    starts = numpy.searchsorted([a for a, _ in edges], range(201)).astype(I32)
    return edges, starts, numpy.array([b for _, b in edges], I32)


def test_breadth_first_search(run, graph):
    edges, starts, to = graph
    levels, level, changed = numpy.full(200, -1, I32), 0, [1]
    levels[0] = 0
    while changed[0]:
        levels, changed = run("graphs", "bfs", 2, 128, ("in", starts), ("in", to), ("inout", levels), ("inout", numpy.zeros(1, I32)), level, 200)
        level += 1
    wanted, front = {0: 0}, [0]
    while front:
        front = [b for a in front for b in to[starts[a]:starts[a + 1]] if b not in wanted and not wanted.update({int(b): wanted[int(a)] + 1})]
    assert [wanted.get(v, -1) for v in range(200)] == list(levels)


def test_hash_table(run):
    keys = numbers(256, 0, 100)
    table, counts = run("graphs", "hash_insert", 4, 64, ("in", keys), ("inout", numpy.full(300, -1, I32)), ("inout", numpy.zeros(300, I32)), 300)
    assert {int(k): int(c) for k, c in zip(table, counts) if k != -1} == {int(k): int((keys == k).sum()) for k in keys}


def test_shortest_paths(run, graph):
    edges, _, to = graph
    weights, source = numbers(len(edges), 1, 20), numpy.array([a for a, _ in edges], I32)
    distances = numpy.full(200, 1 << 30, I32)
    distances[0] = 0
    wanted = distances.copy()
    for _ in range(60):
        for (a, b), w in zip(edges, weights):
            wanted[b] = min(wanted[b], wanted[a] + w)
    for _ in range(25):
        distances = run("graphs", "shorten", 5, 128, ("in", source), ("in", to), ("in", weights), ("inout", distances), len(edges))
    assert numpy.array_equal(distances < 1 << 29, wanted < 1 << 29) and numpy.array_equal(distances[distances < 1 << 29], wanted[wanted < 1 << 29])


def test_pagerank_step(run, graph):
    edges, starts, to = graph
    source, ranks = numpy.array([a for a, _ in edges], I32), numpy.random.default_rng(1).random(200)
    degrees = numpy.diff(starts).astype(I32)
    wanted = numpy.zeros(200)
    numpy.add.at(wanted, to, 0.85 * ranks[source] / degrees[source])
    told = run("graphs", "pagerank", 5, 128, ("in", source), ("in", to), ("in", ranks), ("in", degrees), ("inout", numpy.zeros(200)), len(edges))
    assert numpy.allclose(told, wanted, rtol=1e-12)


def test_a_lock_for_all_blocks(run):
    assert list(run("graphs", "locked", 20, 128, ("inout", numpy.zeros(1, I32)), ("inout", numpy.zeros(1, I32)))[1]) == [80]


# ---- the language ----

def test_pointers_to_functions(run):
    which, i = numbers(64, 0, 3), numpy.arange(64)
    assert numpy.array_equal(run("language", "pointers", 2, 32, ("in", which), empty(64)), numpy.choose(which, [i + 7, i - 7, i * 7]))


def test_virtual_functions(run):
    i = numpy.arange(96)
    assert numpy.array_equal(run("language", "virtuals", 1, 96, empty(96)), numpy.where(i % 3, i * i, 3 * i * i))


def test_recursion(run):
    fibonacci = [0, 1]
    while len(fibonacci) < 13:
        fibonacci.append(sum(fibonacci[-2:]))
    assert list(run("language", "recursion", 1, 50, empty(50))) == [fibonacci[i % 13] for i in range(50)]


def test_double_recursion(run):
    def ackermann(m, n):
        return n + 1 if m == 0 else ackermann(m - 1, 1) if n == 0 else ackermann(m - 1, ackermann(m, n - 1))
    assert list(run("language", "double_recursion", 1, 33, empty(33))) == [ackermann(i % 3, i % 5) for i in range(33)]


def test_functions_that_call_each_other(run):
    assert list(run("language", "mutual", 1, 40, empty(40))) == [1 + i % 2 for i in range(40)]


def test_quicksort(run):
    rows = numbers((40, 50), 0, 1000)
    assert numpy.array_equal(run("language", "sort_rows", 1, 40, ("inout", rows), 50), numpy.sort(rows, 1))


def test_a_jump_into_a_loop(run):
    data = numbers(20, 0, 9)

    def value(count):
        total = 0
        for v in data[:count]:
            total = total * 3 + int(v)
        return total & 0xffffffff
    told = run("language", "duff", 1, 64, ("in", data), empty(64), 20).view(numpy.uint32)
    assert list(told) == [value(i % 20 + 1) for i in range(64)]


def test_checksum_by_a_constant_table(run):
    text = numbers((64, 30), 0, 256, numpy.uint8)
    assert list(run("language", "crc", 2, 32, ("in", text), empty(64, numpy.uint32), 30)) == [zlib.crc32(row.tobytes()) for row in text]


@pytest.mark.parametrize("n", [1, 40, 64])
def test_shared_memory_of_the_launch(run, n):
    data = numbers(n, 0, 1000)
    told = run("language", "shares", 1, 64, ("in", data), empty(n), n, more=["--shared", "512"])
    assert numpy.array_equal(told, data[::-1] + data[::-1] * 10)


def test_templates_and_local_arrays(run):
    data = numbers(50, 0, 9)

    def value(at, n):
        local = [0] * n
        for i in range(n):
            local[(i * 5 + int(data[at])) % n] = int(data[at + i])
        total = 0
        for v in local:
            total = total * 3 + v
        return total
    assert list(run("language", "templates", 1, 32, ("in", data), empty(32))) == [value(i, 7 if i % 2 else 12) for i in range(32)]


def test_prints(run):
    run("language", "prints", 1, 64, 5)
    assert run.stdout == "".join("%d: %6.3f|%-6s|%d%%\n" % (i, i * 0.5, "word", 5000000000) for i in range(5))


@pytest.mark.parametrize("entry", ["too_deep", "no_function"])
def test_what_goes_wrong_ends_the_launch_and_says_where(entry):
    done = subprocess.run([PROGRAM, "kernel", "run", kernel("language"), "--entry", entry, "--grid", "1", "--block", "32", "--device", "cpu",
                           "out:64:/dev/null"], capture_output=True, text=True, timeout=60 * SLOW, env=clean_environment())
    assert done.returncode != 0 and "trap at line" in done.stderr


# ---- tensors ----

def test_product_of_matrices(run):
    a, b = floats(16, 16).astype(numpy.float16), floats(16, 8, seed=2).astype(numpy.float16)
    told = run("tensors", "mma_f16", 1, 32, ("in", a), ("in", b), empty((16, 8), F32))
    assert numpy.allclose(told, a.astype(float) @ b.astype(float), atol=1e-5)


def test_packed_halves(run):
    a, b = floats(64).astype(numpy.float16), floats(64, seed=2).astype(numpy.float16)
    sums, greater = run("tensors", "half_pairs", 1, 32, ("in", a), ("in", b), empty(64, numpy.float16), empty(64, numpy.uint16))
    assert numpy.array_equal(sums, (a.astype(float) * b + b).astype(numpy.float16))
    assert numpy.array_equal(greater, numpy.where(a > b, 0xffff, 0))


def test_packed_bytes(run):
    a, b = numbers((32, 4), 0, 256, numpy.uint8), numbers((32, 4), 0, 256, numpy.uint8, 2)
    dots, mixed = run("tensors", "bytes", 1, 32, ("in", a), ("in", b), empty(32), empty(32, numpy.uint32))
    assert numpy.array_equal(dots, (a.view(numpy.int8).astype(int) * b).sum(1) + 5)
    x, y = a.view(numpy.uint32).ravel(), b.view(numpy.uint32).ravel()
    p = numpy.stack([a[:, 0], b[:, 0], a[:, 2], b[:, 2]], 1).copy().view(numpy.uint32).ravel()
    assert numpy.array_equal(mixed, p ^ ((x & y) | (x & p) | (y & p)))
