# SPDX-License-Identifier: Apache-2.0
"""TW_FAULT=alloc:N and io:N let the N-th allocation or file operation fail. Walks N over start, deploy and invoke: nothing crashes, what fails
says why with an error that means it, and the server answers what comes next."""
import http.client

import pytest

from twtest.build import example, wat
from twtest.paths import PROGRAM
from twtest.server import Server, eventually

# The walk: every call at first, then with growing steps; past the start's and a deploy's own number of calls nothing strikes any more.
STEPS = [*range(1, 21), *range(22, 60, 3), *range(60, 200, 14), *range(200, 1000, 80)]
ALLOWED = {"alloc": {"capacity_exhausted", "store_unavailable", "internal", "compile_failed", "not_available"},
           "io": {"store_unavailable", "compile_failed", "capacity_exhausted"}}
ADD = wat('(module (memory (export "memory") 1) (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))')


def attempt(act):
    """A request's answer, or None when the connection was closed on it (an allocation for the connection itself failed)."""
    try:
        return act()
    except (http.client.HTTPException, ConnectionError):
        return None


def check(reply, kind, what):
    if reply is None or reply.status < 400:
        return
    assert reply.kind in ALLOWED[kind], f"{what}: {reply}"
    assert len(reply.message) > 5, f"{what}: {reply}"


def use(server, kind):
    """Deploys and calls until it works; each failure has to be one that is allowed, and there is at most one fault to be met."""
    from twtest.client import Client
    client = Client(server.port)
    for _ in range(3):
        replies = [attempt(lambda: client.deploy("f", ADD)), attempt(lambda: client.call("f", "add", [2, 3])),
                   attempt(lambda: client.deploy("v", example("vector_add"))), attempt(lambda: client.call("v", "vector_add", [100])),
                   attempt(lambda: client.get("/functions")), attempt(lambda: client.get("/metrics"))]
        assert not server.has_ended, f"the server died with {server.process.returncode}:\n{server.log[-3000:]}"
        for what, reply in zip(("deploy", "call", "deploy", "call", "list", "metrics"), replies):
            if reply is not None and reply.status == 404:
                continue  # its deploy failed
            if reply is not None and reply.status == 502:  # the guest saw a code of wasi_cuda and trapped
                assert reply.kind == "guest_trap"
                continue
            check(reply, kind, what)
        if all(r is not None and r.status < 400 for r in replies):
            assert replies[1].json()["result"] == 5 and replies[3].json()["result"] == 3 * 4950
            return
    raise AssertionError(f"after the fault nothing works any more: {replies}\n{server.log[-3000:]}")


@pytest.mark.parametrize("kind", ["io", "alloc"])
def test_a_failing_call_harms_one_request_or_stops_the_start(kind, tmp_path):
    started = 0
    for n in STEPS:
        server = Server(tmp_path / str(n), env={"TW_FAULT": f"{kind}:{n}"})
        server.spawn()
        eventually(lambda: server.port or server.has_ended, 20, f"{kind}:{n}: the start or its end")
        if server.has_ended:
            assert server.process.returncode == 1, f"{kind}:{n}: ended with {server.process.returncode}\n{server.log[-3000:]}"
            lines = [line for line in server.log.splitlines() if line.startswith("tensor-wasm: ")]
            assert lines and len(lines[-1]) > 25, f"{kind}:{n}: the start failed without saying why:\n{server.log}"
            continue
        started += 1
        try:
            use(server, kind)
            server.stop()
        except BaseException:
            print(f"TW_FAULT={kind}:{n}")
            if server.process and not server.has_ended:
                server.kill()
            raise
    assert started > 5


def test_what_a_fault_left_behind_does_not_spoil_the_next_start(tmp_path):
    for n in range(1, 40, 3):
        server = Server(tmp_path, env={"TW_FAULT": f"io:{n}"})
        server.spawn()
        eventually(lambda: server.port or server.has_ended, 20)
        if not server.has_ended:
            use(server, "io")
            server.stop()
        with Server(tmp_path) as whole:
            assert whole.client.deploy("f", ADD).status == 201 and whole.client.result("f", "add", [2, 3]) == 5


def test_an_unknown_fault_is_said_and_ignored(tmp_path):
    with Server(tmp_path, env={"TW_FAULT": "moon:3"}) as server:
        assert "TW_FAULT=moon:3 is ignored" in server.log
        assert PROGRAM.exists()
