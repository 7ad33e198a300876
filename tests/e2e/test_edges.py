# SPDX-License-Identifier: Apache-2.0
"""No address that a kernel can form reaches outside its instance: every width and kind of access, in every space, at the last bytes of the linear
memory and of the arena, beyond them, and at addresses that wrap, interpreted, in light and in full code. What lies inside works, what does not faults, and another
instance's bytes are never seen nor changed."""
import re
import struct

import pytest

from twtest.build import guest, wat
from twtest.paths import SLOW
from twtest.server import Server

ARENA, MEMORY = 1 << 33, 1 << 32
WIDTHS = {"b8": 1, "b16": 2, "b32": 4, "b64": 8, "v2.b16": 4, "v4.b8": 4, "v2.b32": 8, "v4.b16": 8, "v4.b32": 16, "v2.b64": 16, "v2.f64": 16}
SPACES = {"global": ".global", "generic": ""}
ATOMS = [("atom", "add.u32", 4), ("atom", "add.u64", 8), ("atom", "exch.b32", 4), ("atom", "cas.b64", 8), ("atom", "min.s32", 4),
         ("atom", "add.f32", 4), ("red", "add.u32", 4), ("red", "max.u64", 8), ("red", "or.b32", 4)]
SECRET = 0x5EC2E7A5


def registers(kind):
    """Of that access's values."""
    count = int(kind[1]) if kind.startswith("v") else 1
    of = "f64" if kind.endswith("f64") else kind.split(".")[-1]
    names = [{"b8": "%s", "b16": "%s", "b32": "%r", "b64": "%x", "f64": "%f"}[of] + str(i) for i in range(1, count + 1)]
    return names[0] if count == 1 else "{" + ", ".join(names) + "}"


def operations():
    """[(text of the access at [%a], bytes it touches, whether it reads)] — each for an address that is one number for all threads' sake, and again
    for neighbouring addresses, which become vector accesses."""
    found = []
    for space in SPACES.values():
        for kind, width in WIDTHS.items():
            found.append((f"ld{space}.{kind} {registers(kind)}, [%a];", width, True))
            found.append((f"st{space}.{kind} [%a], {registers(kind)};", width, False))
        for name, kind, width in ATOMS:
            value = "%q1" if kind == "add.f32" else "%x1" if "64" in kind else "%r1"
            target = f"{value}, " if name == "atom" else ""
            found.append((f"{name}{space}.{kind} {target}[%a], {value}{', ' + value if 'cas' in kind else ''};", width, name == "atom"))
    return found


OPERATIONS = operations()


def use(load):
    """Every value that was read goes into %y: a load whose values nobody uses need not happen."""
    text = ""
    for name in re.findall(r"%[srxfq]\d", load.split("[")[0]):
        text += {"s": f"    cvt.u32.u16 %z, {name};\n", "r": f"    mov.b32 %z, {name};\n", "q": f"    mov.b32 %z, {name};\n", "x": f"    cvt.u32.u64 %z, {name};\n",
                 "f": f"    mov.b64 %x8, {name};\n    cvt.u32.u64 %z, %x8;\n"}[name[1]] + "    or.b32 %y, %y, %z;\n"
    return text


def kernel(spaces=OPERATIONS):
    """k(operation, low, high, out): operations 2n use the address for every thread, operations 2n+1 one neighbour each."""
    blocks = []
    for number, (text, width, reads) in enumerate(spaces):
        store = (use(text) if reads else "") + "    bra STORE;\n"
        blocks.append(f"L{2 * number}:\n    mov.b64 %a, %base;\n    {text}\n{store}")
        blocks.append(f"L{2 * number + 1}:\n    mad.wide.u32 %a, %lane, {width}, %base;\n    {text}\n{store}")
    labels = ", ".join(f"L{i}" for i in range(2 * len(spaces)))
    return f""".version 7.8
.target sm_80
.address_size 64
.const .align 16 .b8 constants[64] = {{1, 2, 3, 4}};
.shared .align 16 .b8 scratch[512];
.visible .entry k(.param .u32 operation, .param .u32 low, .param .u32 high, .param .u64 out)
{{
    .reg .b64 %a, %base, %here, %out, %x<9>; .reg .b32 %operation, %low, %high, %lane, %y, %z, %r<9>; .reg .b16 %s<9>; .reg .f64 %f<9>; .reg .f32 %q<9>;
    ld.param.u32 %operation, [operation];
    ld.param.u32 %low, [low];
    ld.param.u32 %high, [high];
    mov.b64 %base, {{%low, %high}};
    ld.param.u64 %here, [out];
    mov.u32 %lane, %tid.x;
    mov.u32 %y, 0;
    mov.u32 %r1, 3;
    mov.u64 %x1, 3;
    mov.f32 %q1, 0f3F800000;
    TABLE: .branchtargets {labels};
    brx.idx %operation, TABLE;
{''.join(blocks)}STORE:
    ld.param.u64 %out, [out];
    mad.wide.u32 %out, %lane, 4, %out;
    st.global.u32 [%out], %y;
    ret;
}}
"""


def launch(client, text, records):
    """The memory's size, and (code, what thread 0 read) of each (operation, address, threads, from_end)."""
    table = b"".join(struct.pack("<IQII", operation, address % 2**64, threads, from_end) for operation, address, threads, from_end in records)
    reply = client.raw("arena-edges", struct.pack("<I", len(records)) + table + text.encode(), "run", timeout=120)
    assert reply.status == 200, reply
    first, *lines = reply.body.decode().splitlines()
    size, loaded = (int(word) for word in first.split())
    assert loaded == 0, "the kernel was not compiled"
    assert len(lines) == len(records)
    return size, [tuple(int(word) for word in line.split()) for line in lines]


# An instance with a secret all over its memory; `changed` counts the words that hold something else.
KEEPER = f"""(module (memory (export "memory") 16)
    (func (export "fill") (local i32) (loop (i32.store (local.get 0) (i32.const {SECRET}))
        (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 4))) (i32.const 1048576)))))
    (func (export "changed") (result i32) (local i32 i32) (loop (local.set 1 (i32.add (local.get 1) (i32.ne (i32.load (local.get 0)) (i32.const {SECRET}))))
        (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 4))) (i32.const 1048576)))) (local.get 1)))"""


@pytest.fixture(scope="module", params=["light", "full", "interpreted"])
def edges(request, tmp_path_factory):
    options = ["--kernel-tier", request.param, "--kernel-timeout-ms", str(10_000 * SLOW), "--invoke-timeout-ms", str(100_000 * SLOW)]
    with Server(tmp_path_factory.mktemp("edges"), options) as server:
        client = server.client
        assert client.deploy("arena-edges", guest("edges.c")).status == 201
        # Instances with secrets live beside those that the test runs in.
        assert client.deploy("secret", wat(KEEPER)).status == 201
        kept = [client.post_json("/instances", {"function": "secret"}).json()["id"] for _ in range(2)]
        for instance in kept:
            assert client.post_json(f"/instances/{instance}/invoke", {"export": "fill"}).status == 200
        yield client
        for instance in kept:
            reply = client.post_json(f"/instances/{instance}/invoke", {"export": "changed"})
            assert reply.status == 200 and reply.json()["result"] == 0, reply


def cases(threads):
    for number, (_, width, _) in enumerate(OPERATIONS):
        for neighbours in (0, 1):
            span = width * (threads if neighbours else 1)
            for address, from_end in [
                    # the last bytes of the linear memory, and the first ones behind it
                    (-span, 1), (-span + width, 1), (-width, 1), (0, 1), (1 << 20, 1),
                    # the last bytes of the arena, and what wraps around its end
                    (ARENA - span, 0), (ARENA - width, 0), (ARENA - 1, 0), (-1, 0), (-width, 0), (-span, 0), (2**63 - width, 0),
                    # whole arenas beyond: the same place in this one, wherever the neighbours lie
                    (ARENA - span, 1), (5 * ARENA - span, 1), (2**63 - span, 1), (-ARENA - span, 1),
                    # nothing is mapped here
                    (0, 0), (width, 0), (64 << 20, 0), (ARENA + 16, 0)]:
                yield 2 * number + neighbours, address, threads, from_end


@pytest.mark.parametrize("threads", [1, 32])
def test_every_access_at_the_edges_works_inside_and_faults_outside(edges, threads):
    records = list(cases(threads))
    size, told = launch(edges, kernel(), records)
    for (operation, address, _, from_end), (code, value) in zip(records, told):
        text, width, _ = OPERATIONS[operation // 2]
        stride = width if operation % 2 else 0
        places = [(address + (MEMORY + size if from_end else 0) + stride * t) % ARENA for t in range(threads)]
        inside = all(MEMORY <= place and place + width <= MEMORY + size for place in places)
        aligned = places[0] % width == 0
        assert code in ((0,) if inside and aligned else (0, -5) if inside else (-5,)), (text, hex(places[0]), hex(size), operation % 2, code)
        assert value != SECRET, (text, hex(address))


WINDOWS = [(f"{name}{space}.{kind} " + (f"{registers(kind)}, [%a];" if name == "ld" else f"[%a], {registers(kind)};"), width, name == "ld")
           for space in (".shared", ".local", ".const") for kind, width in WIDTHS.items() for name in ("ld", "st") if name == "ld" or space != ".const"]
WINDOWS += [(f"atom.shared.{kind} {value}, [%a], {value};", width, False)
            for kind, value, width in (("add.u32", "%r1", 4), ("exch.b64", "%x1", 8), ("add.f32", "%q1", 4))]
# Copies from anywhere and to anywhere, matrices, barriers that are objects, parameters at computed places.
WINDOWS += [(f"cp.async.ca.shared.global [scratch], [%a], {width}{size}; ld.shared.u32 %r1, [scratch];", width, False)
            for width in (4, 8, 16) for size in ("", ", %r1")]
WINDOWS += [(f"cp.async.ca.shared.global [%a], [%here], {width};", width, False) for width in (4, 8, 16)]
WINDOWS += [("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r1, %r2, %r3, %r4}, [%a];", 16, True),
            ("wmma.load.a.sync.aligned.row.m16n16k16.f16 {%r1, %r2, %r3, %r4, %r5, %r6, %r7, %r8}, [%a];", 512, True),
            ("wmma.store.d.sync.aligned.row.m16n16k16.f16 [%a], {%r1, %r2, %r3, %r4};", 512, False),
            ("mbarrier.init.shared.b64 [%a], 1;", 8, False), ("mbarrier.arrive.shared.b64 %x1, [%a];", 8, True),
            ("ld.param.b32 %r1, [%a];", 4, True), ("ld.param.v2.b64 {%x1, %x2}, [%a];", 16, True)]


@pytest.mark.parametrize("threads", [1, 32])
def test_other_spaces_stay_inside_whatever_the_address(edges, threads):
    """Shared, local and constant memory lie in the instance's own arena too: where an address leaves them it finds nothing, or what is the
    instance's own."""
    addresses = [0, 1, 48 << 10, (228 << 10) - 16, 1 << 20, (1 << 32) - 16, (1 << 32) - 1, ARENA - 16, ARENA - 1, ARENA, ARENA + MEMORY, 3 * ARENA + 8,
                 2**63, -1, -16, -ARENA, -MEMORY]
    records = [(operation, address, threads, 0) for operation in range(2 * len(WINDOWS)) for address in addresses]
    _, told = launch(edges, kernel(WINDOWS), records)
    assert {code for code, _ in told} <= {0, -5} and SECRET not in {value for _, value in told}
    assert launch(edges, kernel(), [(0, -1, 1, 1)])[1][0][0] == 0, "the instance works on"


def test_the_secret_can_be_read_where_it_is(edges):
    """The test above would see it: a kernel in the instance itself does."""
    text = kernel([("ld.global.b32 %r1, [%a];", 4, True)])
    size, told = launch(edges, text, [(0, -4, 1, 1)])
    assert told[0][0] == 0 and size % 65536 == 0
