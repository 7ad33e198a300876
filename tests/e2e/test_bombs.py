# SPDX-License-Identifier: Apache-2.0
"""PTX that is made to hurt: too many of everything, nested without end, one line that becomes millions. Each is refused with the reason, or compiled,
within the compiler's limits; and the next kernel compiles as before."""
import re

import pytest

from twtest.client import Client

HEAD = ".version 7.8\n.target sm_80\n.address_size 64\n"


def kernel(body="", before="", params=""):
    return f"{HEAD}{before}.visible .entry k({params})\n{{\n{body}\n    ret;\n}}\n"


def calls(count, times):
    """f0 does nothing; every other one calls the one before it so many times."""
    return "".join(f".func f{i}()\n{{\n{'' if i == 0 else f'    call f{i - 1};' * times}\n    ret;\n}}\n" for i in range(count))


def nested(depth):
    """Loops in loops whose threads leave each at a time of their own."""
    head = "".join(f"mov.u32 %r{i + 1}, 0;\nL{i}:\n" for i in range(depth))
    tail = "".join(f"add.u32 %r{i + 1}, %r{i + 1}, 1;\nsetp.lt.u32 %p, %r{i + 1}, %r0;\n@%p bra L{i};\n" for i in reversed(range(depth)))
    return kernel(f".reg .pred %p;\n.reg .b32 %r<{depth + 2}>;\n.reg .b64 %d;\nld.param.u64 %d, [a];\nmov.u32 %r0, %tid.x;\n{head}st.global.u32 [%d], %r0;\n{tail}",
                  params=".param .u64 a")


def ladder(steps):
    """Threads leave one by one, each for a place of its own further down."""
    down = "".join(f"setp.gt.u32 %p, %r0, {i};\n@%p bra E{i};\n" for i in range(steps))
    up = "".join(f"E{i}:\nadd.u32 %r0, %r0, 1;\n" for i in reversed(range(steps)))
    return kernel(f".reg .pred %p;\n.reg .b32 %r0;\n.reg .b64 %d;\nld.param.u64 %d, [a];\nmov.u32 %r0, %tid.x;\n{down}{up}st.global.u32 [%d], %r0;\n",
                  params=".param .u64 a")


REFUSED = {
    "loops in loops": (nested(3_000), 429, r"line \d+: loops of kernel k nest deeper than 64"),
    "threads that part all the time": (ladder(2_000), 429, r"blocks, and threads part and meet at \d+ of them; the limit of the product is 2000000"),
    "registers in one declaration": (kernel(".reg .b32 %r<2000000>;"), 429, r"line 6, column 14: .*200000 registers"),
    "registers one by one": (kernel("".join(f".reg .b32 %r{i};\n" for i in range(200_100))), 429, "200000 registers"),
    "blocks": (kernel("".join(f"L{i}:\n    bra L{i};\n" for i in range(100_100))), 429, "100000 basic blocks"),
    "blocks of one kernel": (kernel(".reg .pred %p;\n.reg .b32 %r<2>;\nmov.u32 %r1, %tid.x;\n" + "".join(
        f"setp.gt.u32 %p, %r1, {i};\n@%p bra L{i};\nadd.u32 %r1, %r1, 7;\nL{i}:\n" for i in range(6_000))), 429, r"blocks, the limit is"),
    "branch targets": (kernel(".reg .b32 %r<2>;\nT: .branchtargets " + ", ".join(["L"] * 300) + ";\nbrx.idx %r1, T;\nL:"), 429, "255 branch targets"),
    "calls that double at every level": (kernel("call f39;", calls(40, 2)), 429, "blocks|instructions"),
    "calls that nest": (kernel("call f99;", calls(100, 1)), 429, "deeper than 64"),
    "functions": (kernel("", "".join(f".func f{i}() {{ ret; }}\n" for i in range(4_200))), 429, "4096 functions"),
    "local memory": (kernel(".local .b8 x[1048576];"), 429, "limit of its space is 524288"),
    "shared memory": (kernel(".shared .b8 x[1048576];"), 429, "limit of its space is 232448"),
    "global memory": (kernel("", ".global .b8 x[1099511627776];\n"), 400, "line 4, column 15: an array size"),
    "an array of arrays": (kernel("", ".global .b8 x[65536][65536];\n"), 429, "line 4, column"),
    "scopes": (kernel("{" * 20_000 + "}" * 20_000), 429, "nest deeper than 64"),
    "parentheses": (kernel(".reg .b32 %r<2>;\nmov.u32 %r1, " + "(" * 20_000 + "1" + ")" * 20_000 + ";"), 400, "nests deeper than 64"),
    "signs": (kernel(".reg .b32 %r<2>;\nmov.u32 %r1, " + "-" * 20_000 + "1;"), 400, "nests deeper than 64"),
    "an identifier": (kernel("", f".global .b32 {'x' * 1_000_000};\n"), 429, "1000000 characters; the limit is 1024"),
    "parameters": (kernel("", params=",".join(f".param .u64 p{i}" for i in range(2_000))), 429, "128 parameters"),
}
TAKEN = {
    "loops as deep as they may be": nested(64),
    "one long sum": kernel(".reg .f32 %f;\n.reg .b64 %d;\nld.param.u64 %d, [a];\nld.global.f32 %f, [%d];\n" + "fma.rn.f32 %f, %f, %f, %f;\n" * 4_000 +
                           "st.global.f32 [%d], %f;\n", params=".param .u64 a"),
    "a million empty lines": kernel("\n" * 1_000_000),
    "one very long comment": kernel("/*" + "x" * 4_000_000 + "*/"),
    "a long initialiser": kernel("", ".global .b8 x[200000] = {" + ", ".join(["1"] * 200_000) + "};\n"),
    "many values alive at once": kernel(".reg .b32 %r<4002>;\n" + "".join(f"mov.u32 %r{i}, %tid.x;\n" for i in range(1, 4000)) + "bar.sync 0;\n" +
                                        "".join(f"add.u32 %r{i + 1}, %r{i + 1}, %r{i};\n" for i in range(1, 4000))),
}


@pytest.fixture
def client(shared):
    return Client(shared.port, tenant=66)


def publish(client, name, text):
    return client.request("POST", f"/kernels?name={name}&version=1", text, {"Content-Type": "text/plain"}, timeout=150)


def works_on(client, name):
    assert publish(client, f"after-{name}", kernel(f"// {name}")).status == 201


@pytest.mark.parametrize("what", REFUSED)
def test_a_bomb_is_refused_with_the_limit_it_met(client, name, what):
    text, status, wanted = REFUSED[what]
    reply = publish(client, name, text)
    assert reply.status == status and re.search(wanted, reply.message), reply
    works_on(client, name)


@pytest.mark.parametrize("what", TAKEN)
def test_what_is_only_large_is_compiled(client, name, what):
    reply = publish(client, name, TAKEN[what])
    assert reply.status == 201, reply
    works_on(client, name)
