# SPDX-License-Identifier: Apache-2.0
"""The examples do what they say, compared with numpy."""
import subprocess

import numpy
import pytest

from twtest.build import example
from twtest.paths import PROGRAM


@pytest.fixture(scope="module")
def examples(shared):
    for name in ("hello", "vector_add", "matmul", "edges"):
        assert shared.client.deploy(name, example(name)).status == 201
    return shared.client


def test_hello(examples):
    assert examples.result("hello", "add", [2, 3]) == 5
    assert examples.raw("hello").body == b"hello, world\n"


@pytest.mark.parametrize("n", [0, 1, 255, 256, 1000, 1_000_003])
def test_vector_add_sums_what_it_should(examples, n):
    assert examples.result("vector_add", "vector_add", [n]) == 3 * int((numpy.arange(n, dtype=numpy.int64) % 1000).sum())


def test_vector_add_of_bytes(examples):
    a, b = (numpy.random.default_rng(seed).standard_normal(100_001).astype(numpy.float32) for seed in (1, 2))
    assert examples.raw("vector_add", a.tobytes() + b.tobytes()).body == (a + b).tobytes()


def test_vector_add_says_what_is_wrong(examples):
    error = examples.raw("vector_add", b"12345").json()["error"]
    assert error["kind"] == "guest_trap" and "two vectors of float32" in error["stderr"]
    error = examples.call("vector_add", "vector_add", [2_000_000_000]).json()["error"]
    assert "do not fit" in error["stderr"]


@pytest.mark.parametrize("n", [1, 15, 16, 17, 100, 256])
def test_matmul_has_no_error(examples, n):
    assert examples.result("matmul", "matmul", [n]) == 0


@pytest.mark.parametrize("n", [0, -1, 2049])
def test_matmul_refuses_other_sizes(examples, n):
    error = examples.call("matmul", "matmul", [n]).json()["error"]
    assert error["kind"] == "guest_trap" and "between 1 and 2048" in error["stderr"]


# ---- edges ----

def edges_of(picture):
    """The same by numpy, in whole numbers: picture is height x width (grey) or height x width x 3."""
    p = picture.astype(numpy.int64)
    grey = p if p.ndim == 2 else (77 * p[..., 0] + 150 * p[..., 1] + 29 * p[..., 2] + 128) // 256
    height, width = grey.shape

    def shifted(image, dy, dx):
        rows = numpy.clip(numpy.arange(height) + dy, 0, height - 1)
        columns = numpy.clip(numpy.arange(width) + dx, 0, width - 1)
        return image[rows][:, columns]
    weights = [1, 4, 6, 4, 1]
    blurred = (128 + sum(weights[dy + 2] * weights[dx + 2] * shifted(grey, dy, dx) for dy in range(-2, 3) for dx in range(-2, 3))) // 256
    gx = sum(w * (shifted(blurred, d, 1) - shifted(blurred, d, -1)) for d, w in ((-1, 1), (0, 2), (1, 1)))
    gy = sum(w * (shifted(blurred, 1, d) - shifted(blurred, -1, d)) for d, w in ((-1, 1), (0, 2), (1, 1)))
    return numpy.minimum(abs(gx) + abs(gy), 255).astype(numpy.uint8)


def pnm(picture, header=None):
    height, width = picture.shape[:2]
    return (header or f"P{5 if picture.ndim == 2 else 6}\n{width} {height}\n255\n".encode()) + picture.tobytes()


def read_pgm(data):
    magic, width, height, most, pixels = data.split(maxsplit=3)[:3] + data.split(b"\n", 3)[2:]
    assert magic == b"P5" and most == b"255"
    return numpy.frombuffer(pixels, numpy.uint8).reshape(int(height), int(width))


@pytest.mark.parametrize("height, width, channels", [
    (1, 1, 1), (1, 1, 3), (1, 40, 3), (40, 1, 1), (2, 3, 3), (8, 32, 1), (9, 33, 3), (123, 457, 3), (640, 480, 1), (1080, 1920, 3)])
def test_edges_are_exactly_those_of_numpy(examples, height, width, channels):
    shape = (height, width) if channels == 1 else (height, width, 3)
    picture = numpy.random.default_rng(height * width).integers(0, 256, shape, numpy.uint8)
    picture[: height // 2] //= 7  # an edge to be found
    reply = examples.raw("edges", pnm(picture), timeout=60)
    assert reply.status == 200, reply
    assert reply.headers["content-type"] == "image/x-portable-graymap"
    assert numpy.array_equal(read_pgm(reply.body), edges_of(picture))


def test_edges_of_a_photograph(examples, tmp_path):
    subprocess.run(["convert", "rose:", "-depth", "8", f"{tmp_path}/rose.ppm"], check=True)
    data = (tmp_path / "rose.ppm").read_bytes()
    _, width, height, _ = data.split(maxsplit=4)[:4]
    picture = numpy.frombuffer(data[-int(width) * int(height) * 3:], numpy.uint8).reshape(int(height), int(width), 3)
    wanted = edges_of(picture)
    assert wanted.max() > 100 > wanted.min()
    assert numpy.array_equal(read_pgm(examples.raw("edges", data).body), wanted)
    done = subprocess.run([PROGRAM, "run", PROGRAM.parent.parent / "examples/edges.wasm"], input=data, capture_output=True)
    assert done.returncode == 0 and numpy.array_equal(read_pgm(done.stdout), wanted)


def test_headers_may_have_comments(examples):
    picture = numpy.arange(12, dtype=numpy.uint8).reshape(3, 4) * 20
    data = pnm(picture, b"P5 # made by hand\n#another\n 4\t#width\n3\n# 99\n255\n")
    assert numpy.array_equal(read_pgm(examples.raw("edges", data).body), edges_of(picture))


@pytest.mark.parametrize("data, wanted", [
    (b"", "neither"), (b"P3\n1 1\n255\n0 0 0", "neither"), (b"\x89PNG\r\n\x1a\n", "neither"), (b"P6", "neither"), (b"P63 2\n255\n", "neither"),
    (b"P5\n", "ends within"), (b"P5\n0 4\n255\n", "width"), (b"P5\n4 -1\n255\n", "height"), (b"P5\nfour 4\n255\n", "width"),
    (b"P5\n99999999999999999999 1\n255\n", "width"), (b"P5\n2 2\n65535\n" + b"x" * 8, "255"), (b"P5\n2 2\n15\nxxxx", "255"),
    (b"P5\n2 2\n255xxxx", "maxval"), (b"P5\n2 2\n255\nxxx", "ends in row 2"), (b"P6\n2 2\n255\n" + b"x" * 11, "ends in row 2"),
    (b"P5\n2 2\n255\nxxxxx", "goes on"), (b"P6\n65535 65535\n255\nxxx", "does not fit")])
def test_pictures_that_are_none_are_refused(examples, data, wanted):
    reply = examples.raw("edges", data)
    assert reply.status == 502 and reply.kind == "guest_exit", reply
    error = reply.json()["error"]
    assert error["exit_code"] == 1 and wanted in error["stderr"], error
