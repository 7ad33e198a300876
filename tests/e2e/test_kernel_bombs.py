# SPDX-License-Identifier: Apache-2.0
"""A guest loads PTX that is made to hurt the compiler of code: thousands of operations in one block, of the kinds that become much code each. Every
load ends, with a kernel that runs or with the limit it met; and while it lasts, another tenant's new kernel is compiled and launched."""
import concurrent.futures
import contextlib
import re

import pytest

from test_bombs import nested
from test_cuda import kernel as ptx, words_of
from twtest.build import guest
from twtest.client import Client
from twtest.paths import SLOW
from twtest.server import Server, eventually

ATTACKER, NEIGHBOUR = 66, 67
CHAIN = "    cvt.rn.f32.u32 %f0, %r1;\n"
KEEP = "    cvt.rzi.u32.f32 %r2, %f0;\n    st.global.u32 [%d2], %r2;\n"


def body(text, registers=""):
    """k(out) of device.c: %r1 is the thread, [%d2] its word."""
    return ptx(text, f".reg .b32 %r<9>; .reg .b64 %d<5>; .reg .pred %p; .reg .f32 %f<64>; {registers}")


def wide(count):
    """Sums in 64 registers, each of which needs two others."""
    return "".join(f"mov.f32 %f{i}, %f0;\n" for i in range(1, 64)) + "".join(
        f"fma.rn.f32 %f{i % 64}, %f{(i * 7 + 1) % 64}, %f{(i * 13 + 5) % 64}, %f{i % 64};\n" for i in range(count))


def blocks(count):
    return "".join(f"setp.gt.u32 %p, %r1, {i};\n@%p bra L{i};\nadd.u32 %r1, %r1, 7;\nL{i}:\n" for i in range(count)) + "st.global.u32 [%d2], %r1;\n"


def numbers(count):
    return "".join(f"mad.lo.u32 %r1, %r1, {i * 2654435761 % 2**32}, {i * 40503 % 2**32};\n" for i in range(count)) + "st.global.u32 [%d2], %r1;\n"


def many(count):
    return body("") + "".join(f".visible .entry k{i}() {{ .reg .b32 %r<2>; mov.u32 %r1, %tid.x; }}\n" for i in range(count)).replace("; }", "; ret; }")


RUNS = r"0\n"
BOMBS = {
    "products and sums in one block": (body(CHAIN + "fma.rn.f32 %f0, %f0, %f0, %f0;\n" * 20_000 + KEEP), RUNS),
    "sums in many registers": (body(CHAIN + wide(4_000) + KEEP), RUNS),
    "atomics": (body("atom.global.add.u32 %r2, [%d2], %r1;\nadd.u32 %r1, %r1, %r2;\n" * 400 + "st.global.u32 [%d2], %r1;\n"), RUNS),
    "powers and sines": (body(CHAIN + "ex2.approx.f32 %f0, %f0;\nsin.approx.f32 %f0, %f0;\n" * 400 + KEEP), RUNS),
    "divisions": (body("mov.u64 %d3, %d2;\n" + "rem.s64 %d3, %d2, %d3;\ndiv.u64 %d3, %d3, %d2;\n" * 100 + "st.global.u32 [%d2], %d3;\n"), RUNS),
    "matrix products": (body("mov.u32 %r3, %r1;\nmov.u32 %r4, %r1;\n" + "mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%r3, %r4}, {%r1, %r1}, {%r1}, {%r3, %r4};\n" * 300 +
                             "st.global.u32 [%d2], %r3;\n"), RUNS),
    "shuffles": (body("shfl.sync.idx.b32 %r1, %r1, %r1, 31, -1;\n" * 300 + "st.global.u32 [%d2], %r1;\n"), RUNS),
    "barriers": (body("st.shared.u32 [s], %r1;\nbar.sync 0;\nld.shared.u32 %r1, [s];\nbar.sync 0;\n" * 500 + "st.global.u32 [%d2], %r1;\n", ".shared .b32 s;\n"), RUNS),
    "constants": (body(numbers(20_000)), RUNS),
    "a text of 4 MiB": (body("// nothing but this\n" * 210_000 + "st.global.u32 [%d2], %r1;\n"), RUNS),
    "results by the hundred thousand": (body("mov.u32 %r2, 1;\n" * 260_000), r"-6\n.*200000 registers"),
    "kernels": (many(4_000), RUNS),
    "kernels, too many": (many(4_100), r"-6\n.*4096 functions"),
    "blocks": (body(blocks(1_500)), r"-6\n.*kernel k has 3001 blocks, and threads part and meet at 3000 of them; the limit"),
    "loops in loops": (nested(100), r"-6\n.*loops of kernel k nest deeper than 64"),
    "shared memory": (body("st.global.u32 [%d2], %r1;\n", ".shared .b8 s[300000];\n"), r"-6\n.*300000 bytes, the limit of its space is 232448"),
    "local memory": (body("st.global.u32 [%d2], %r1;\n", ".local .b8 s[600000];\n"), r"-6\n.*600000 bytes, the limit of its space is 524288"),
}
ENDLESS = body("vadd4.s32.s32.s32.sat %r1, %r1, %r2, %r1;\nvabsdiff2.u32.u32.u32 %r2, %r2, %r1, %r2;\n" * 2_500 + "st.global.u32 [%d2], %r1;\n")


@contextlib.contextmanager
def serve(folder, tier):
    options = ["--invoke-timeout-ms", str(140_000 * SLOW), "--kernel-timeout-ms", str(20_000 * SLOW), "--kernel-tier", tier]
    with Server(folder, options) as server:
        for tenant in (ATTACKER, NEIGHBOUR):
            assert Client(server.port, tenant=tenant).deploy("device", guest("device.c")).status == 201
        yield server


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """Whose kernels are not interpreted: what they do to the compiler of code is to be seen."""
    with serve(tmp_path_factory.mktemp("kernel-bombs"), "light") as server:
        yield server


def call(host, tenant, text, **more):
    return Client(host.port, tenant=tenant).raw("device", text.encode(), "run", timeout=150, **more)


def neighbour_works(host, name):
    """With a kernel that nobody has compiled before."""
    reply = call(host, NEIGHBOUR, ptx(f"    add.u32 %r1, %r1, 3; // {name}\n    st.global.u32 [%d2], %r1;"))
    assert reply.status == 200 and words_of(reply.body.decode()) == list(range(3, 67)), reply


@pytest.mark.parametrize("what", BOMBS)
def test_a_bomb_ends_and_others_are_served_meanwhile(host, what):
    text, wanted = BOMBS[what]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        told = pool.submit(call, host, ATTACKER, text)
        neighbour_works(host, what)
        reply = told.result()
    assert reply.status == 200 and re.match(wanted, reply.body.decode()), reply
    neighbour_works(host, f"after {what}")


def test_a_load_without_end_is_stopped_at_the_calls_deadline(host):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        told = pool.submit(call, host, ATTACKER, ENDLESS, headers={"X-TensorWasm-Deadline-Ms": str(5_000 * SLOW)})
        eventually(lambda: host.compilers_at_work() or told.done(), 30, "the compiler's beginning")
        neighbour_works(host, "endless")
        reply = told.result()
    assert reply.status == 504 and reply.kind == "invoke_timeout", reply
    eventually(lambda: not host.compilers_at_work(), 60, "the end of the compilation")
    neighbour_works(host, "after endless")


def test_what_no_compiler_ends_with_is_interpreted(tmp_path):
    """Its launch waits for no code, and code that comes too late or never is nobody's trouble."""
    with serve(tmp_path, "auto") as server:
        reply = call(server, ATTACKER, ENDLESS, headers={"X-TensorWasm-Deadline-Ms": str(100_000 * SLOW)})
        assert reply.status == 200 and len(words_of(reply.body.decode())) == 64, reply
        neighbour_works(server, "meanwhile")
