# SPDX-License-Identifier: Apache-2.0
"""How kernels run: interpreted at first, then by light code and by full code, compiled in the background; the version that wrong guesses need only when one
proves wrong; and all of them with the same results, kept over a restart."""
import subprocess

import numpy
import pytest

from test_cuda import kernel as ptx, words_of
from twtest.build import guest
from twtest.paths import PROGRAM, SLOW
from twtest.server import Server, clean_environment, eventually

TIERS = ("interpreted", "light", "full", "exact")
# The index less 40 as an unsigned number: the lanes of two warps wrap, which the compiler guesses they do not.
WRAPS = "    sub.u32 %r5, %r1, 40;\n    cvt.u64.u32 %d4, %r5;\n    shr.u64 %d4, %d4, 3;\n"
WRAPPING = ptx(WRAPS + "    st.global.u32 [%d2], %d4;")
WRAPPED = [((i - 40) % 2**32) >> 3 for i in range(64)]
BUSY = ptx("    mov.u32 %r6, 0;\nL: mad.lo.u32 %r1, %r1, 1664525, 1013904223;\n    add.u32 %r6, %r6, 1;\n    setp.lt.u32 %p1, %r6, 200000;\n"
           "    @%p1 bra L;\n    st.global.u32 [%d2], %r1;")


def busy_words():
    word = numpy.arange(64, dtype=numpy.uint32)
    for _ in range(200000):
        word = word * numpy.uint32(1664525) + numpy.uint32(1013904223)
    return word.tolist()


class Host(Server):
    def __init__(self, folder, *options):
        super().__init__(folder, options)

    def words(self, text):
        reply = self.client.raw("cuda", text.encode(), "run")
        assert reply.status == 200, reply
        return words_of(reply.body.decode())

    def compiled(self):
        metrics = self.client.metrics()
        return [metrics.get(f'tensor_wasm_kernel_compiles_total{{tier="{tier}"}}', 0) for tier in TIERS]


@pytest.fixture
def host(tmp_path):
    started = []

    def start(*options):
        server = Host(tmp_path, *options).start()
        started.append(server)
        if server.client.get("/functions/cuda").status == 404:
            server.client.deploy("cuda", guest("device.c"))
        return server
    yield start
    for server in started:
        server.stop()


def test_a_wrong_guess_has_the_exact_version_compiled_once(host):
    server = host("--kernel-tier", "light")
    assert server.words(WRAPPING) == WRAPPED
    assert server.compiled() == [0, 1, 0, 1]
    assert server.words(WRAPPING) == WRAPPED
    assert server.words(ptx("    st.global.u32 [%d2], %r1;")) == list(range(64))  # this one guesses right
    assert server.compiled() == [0, 2, 0, 1]


@pytest.mark.parametrize("tier, wanted", [("light", [0, 1, 0, 1]), ("full", [0, 0, 1, 1]), ("interpreted", [1, 0, 0, 0])])
def test_the_tier_can_be_chosen(host, tier, wanted):
    server = host("--kernel-tier", tier)
    assert server.words(WRAPPING) == WRAPPED
    assert server.compiled() == wanted


def test_a_busy_kernel_is_compiled_again_and_stays_so_over_a_restart(host):
    wanted = busy_words()
    server = host()
    assert server.words(BUSY) == wanted
    assert server.compiled()[0] == 1
    eventually(lambda: server.words(BUSY) == wanted and server.compiled()[:3] == [1, 1, 1], what="the light and the full version")
    assert server.words(BUSY) == wanted
    artifacts = lambda: len(list(server.data.glob("artifacts/*/*.sig")))
    eventually(lambda: artifacts() >= 4, what="the guest's code, the program and both versions in the cache")
    server.stop()
    again = host()
    assert again.words(BUSY) == wanted
    assert again.compiled() == [0, 0, 0, 0]


NAMES = {"light": "light code", "full": "full code", "interpreted": "interpreted"}


def run(folder, text, tier, *more):
    (folder / "k.ptx").write_text(text)
    done = subprocess.run([PROGRAM, "kernel", "run", folder / "k.ptx", "--entry", "k", "--grid", "2", "--block", "96", "--tier", tier, "--time",
                           *more, f"out:{4 * 192}:{folder}/out"], capture_output=True, text=True, timeout=60 * SLOW, env=clean_environment())
    assert done.returncode == 0, done.stderr
    assert f"k ({NAMES[tier]})" in done.stdout
    return numpy.fromfile(folder / "out", numpy.uint32).tolist()


@pytest.mark.parametrize("tier", NAMES)
def test_warps_go_on_in_the_exact_version_behind_barriers(tmp_path, tier):
    """Each thread publishes what it computed and reads its neighbour's: warps of both versions meet at the barriers of one block."""
    text = ptx(WRAPS + "    cvt.u32.u64 %r6, %d4;\n    .shared .b32 tile[96];\n    mov.u32 %r7, tile;\n    mad.lo.u32 %r8, %r4, 4, %r7;\n"
               "    st.shared.u32 [%r8], %r6;\n    bar.sync 0;\n    add.u32 %r9, %r4, 1;\n    rem.u32 %r9, %r9, 96;\n"
               "    mad.lo.u32 %r8, %r9, 4, %r7;\n    ld.shared.u32 %r10, [%r8];\n    bar.sync 0;\n    add.u32 %r10, %r10, %r6;\n"
               "    st.global.u32 [%d2], %r10;")
    own = [((i - 40) % 2**32) >> 3 for i in range(192)]
    assert run(tmp_path, text, tier) == [(own[i] + own[i // 96 * 96 + (i + 1) % 96]) % 2**32 for i in range(192)]


def test_all_tiers_fuse_the_same_products(tmp_path):
    """x * y + z without a rounding may be one operation or two: which, no tier decides by itself. x = 1 + 2^-12 + i * 2^-20, so products do not fit."""
    text = ptx("    cvt.rn.f32.u32 %f1, %r1;\n    fma.rn.f32 %f1, %f1, 0f35800000, 0f3F800800;\n    mul.f32 %f2, %f1, %f1;\n    add.f32 %f3, %f2, 0fBF800000;\n"
               "    mul.f32 %f4, %f1, %f3;\n    sub.f32 %f5, %f1, %f4;\n    st.global.f32 [%d2], %f5;")
    words = [run(tmp_path, text, tier) for tier in NAMES]
    x = 1 + 2.0**-12 + numpy.arange(192) * 2.0**-20  # a double holds x * x, and the sum below rounds once
    inner = (x * x - 1).astype(numpy.float32).astype(float)
    assert words == 3 * [(x - x * inner).astype(numpy.float32).view(numpy.uint32).tolist()]


def test_light_code_takes_over_in_the_middle_of_a_launch(tmp_path):
    """Each thread counts itself once: a block that two kinds of code run, or none, is seen."""
    (tmp_path / "k.ptx").write_text(ptx("    mov.u32 %r6, 0;\nL: mad.lo.u32 %r5, %r5, 1664525, 1013904223;\n    add.u32 %r6, %r6, 1;\n    setp.lt.u32 %p1, %r6, 5000;\n"
                                        "    @%p1 bra L;\n    ld.global.u32 %r7, [%d2];\n    add.u32 %r7, %r7, 1;\n    st.global.u32 [%d2], %r7;"))
    numpy.zeros(3000 * 64, numpy.uint32).tofile(tmp_path / "words")
    done = subprocess.run([PROGRAM, "kernel", "run", tmp_path / "k.ptx", "--entry", "k", "--grid", "3000", "--block", "64", "--time",
                           "--kernel-timeout-ms", str(100_000 * SLOW), f"inout:{tmp_path}/words:{tmp_path}/words"],
                          capture_output=True, text=True, timeout=200 * SLOW, env=clean_environment())
    assert done.returncode == 0, done.stderr
    assert "k (interpreted, then light code)" in done.stdout
    assert (numpy.fromfile(tmp_path / "words", numpy.uint32) == 1).all()


@pytest.mark.parametrize("command, wanted", [
    (["kernel", "run", "x.ptx", "--entry", "k", "--grid", "1", "--block", "1", "--tier", "fast"], "auto, light, full or interpreted"),
    (["kernel", "dump", "x.ptx", "--stage", "time", "--tier", "fast"], "light or full"),
    (["serve", "--kernel-tier", "fast"], "auto, light, full or interpreted")])
def test_a_tier_that_is_none(tmp_path, command, wanted):
    (tmp_path / "x.ptx").write_text(WRAPPING)
    done = subprocess.run([PROGRAM, *command], cwd=tmp_path, capture_output=True, text=True, timeout=60 * SLOW, env=clean_environment())
    assert done.returncode != 0 and wanted in done.stderr and "fast" in done.stderr


@pytest.mark.parametrize("tier", ["light", "full"])
def test_the_compiler_tells_what_its_parts_took(tmp_path, tier):
    (tmp_path / "x.ptx").write_text(WRAPPING)
    done = subprocess.run([PROGRAM, "kernel", "dump", "x.ptx", "--stage", "time", "--tier", tier], cwd=tmp_path, capture_output=True, text=True,
                          timeout=60 * SLOW, env=clean_environment())
    parts = {name: int(number) for name, number in map(str.split, done.stdout.splitlines())}
    assert list(parts) == ["parse", "simplify", "analyse", "emit", "passes", "code", "all", "bytes"]
    assert 0 < parts["code"] <= parts["all"] and parts["bytes"] > 500
