# SPDX-License-Identifier: Apache-2.0
"""TW_FAULT=alloc:N and io:N let the N-th allocation or file operation fail. Walks N over start, deploy, invoke, jobs, kept instances, tenants and
deletes, and over the next start: nothing crashes, what fails says why with an error that means it, nothing stays in use, and the server answers
what comes next."""
import http.client

import pytest

from twtest.build import example, wat
from twtest.client import Client
from twtest.paths import PROGRAM
from twtest.server import Server, eventually

# The walk: every call at first, then with growing steps; past the start's and a deploy's own number of calls nothing strikes any more.
STEPS = [*range(1, 21), *range(22, 60, 3), *range(60, 200, 14), *range(200, 1000, 80), *range(1000, 4000, 500)]
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


def job(client):
    """Starts a job and waits for its end: the last answer about it. A fault may meet it at any of its steps."""
    started = attempt(lambda: client.post_json("/functions/f/invoke-async", {"export": "add", "args": [2, 3]}))
    if started is None or started.status >= 400:
        return started
    path = f"/jobs/{started.json()['job_id']}"

    def ended():
        told = attempt(lambda: client.get(path))
        return told if told is not None and told.status < 400 and told.json()["state"] not in ("queued", "running") else None
    return eventually(ended, what="the job's end")


def instance(client):
    """Makes one that keeps its state, calls it, ends it."""
    made = attempt(lambda: client.post_json("/instances", {"function": "f"}))
    if made is None or made.status >= 400:
        return made
    path = f"/instances/{made.json()['id']}"
    called = attempt(lambda: client.post_json(f"{path}/invoke", {"export": "add", "args": [4, 5]}))
    ended = attempt(lambda: client.request("DELETE", path)) or attempt(lambda: client.request("DELETE", path))
    return called if called is None or called.status >= 400 or ended.status == 404 else ended


def tenant(client):
    return client.request("PUT", "/tenants/0", '{"name": "walked", "limits": {"functions": 50}}', {"Content-Type": "application/json"})


def clear(client):
    """Deletes what was deployed and what jobs left (a fault may strike here too) and waits until the tenant uses nothing."""
    def is_empty():
        attempt(client.forget_jobs)
        for name in ("f", "v"):
            attempt(lambda: client.request("DELETE", f"/functions/{name}"))
        told = attempt(lambda: client.get("/tenants/0"))
        return told is not None and told.status == 200 and not any(u.get("now") for u in told.json()["use"].values())
    eventually(is_empty, what="nothing in use")


STEPS_OF_USE = {
    "deploy": lambda client: client.deploy("f", ADD), "call": lambda client: client.call("f", "add", [2, 3]),
    "deploy of a kernel": lambda client: client.deploy("v", example("vector_add")),
    "call of a kernel": lambda client: client.call("v", "vector_add", [100]),
    "list": lambda client: client.get("/functions"), "metrics": lambda client: client.get("/metrics"), "tenant": tenant, "job": job,
    "instance": instance, "observe": lambda client: client.get("/observe")}


def use(server, kind):
    """Uses everything until it works; each failure has to be one that is allowed, and there is at most one fault to be met."""
    client = Client(server.port)
    for _ in range(3):
        replies = {what: attempt(lambda act=act: act(client)) for what, act in STEPS_OF_USE.items()}
        assert not server.has_ended, f"the server died with {server.process.returncode}:\n{server.log[-3000:]}"
        for what, reply in replies.items():
            if reply is not None and reply.status == 404:
                continue  # its deploy failed
            if reply is not None and reply.status == 502:  # the guest saw a code of wasi_cuda and trapped
                assert reply.kind == "guest_trap"
                continue
            check(reply, kind, what)
        if all(r is not None and r.status < 400 for r in replies.values()) and replies["job"].json()["state"] == "done":
            assert replies["call"].json()["result"] == 5 and replies["call of a kernel"].json()["result"] == 3 * 4950
            assert replies["job"].json()["result"] == 5
            clear(client)
            return
    raise AssertionError(f"after the fault nothing works any more: {replies}\n{server.log[-3000:]}")


@pytest.mark.parametrize("kind", ["io", "alloc"])
def test_a_failing_call_harms_one_request_or_stops_the_start(kind, tmp_path):
    started = 0
    for n in STEPS:
        server = Server(tmp_path / str(n), env={"TW_FAULT": f"{kind}:{n}"})
        server.spawn()
        eventually(lambda: server.port or server.has_ended, what=f"{kind}:{n}: the start or its end")
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
        eventually(lambda: server.port or server.has_ended)
        if not server.has_ended:
            use(server, "io")
            server.stop()
        with Server(tmp_path) as whole:
            assert whole.client.deploy("f", ADD).status == 201 and whole.client.result("f", "add", [2, 3]) == 5


def test_an_unknown_fault_is_said_and_ignored(tmp_path):
    with Server(tmp_path, env={"TW_FAULT": "moon:3"}) as server:
        assert "TW_FAULT=moon:3 is ignored" in server.log
        assert PROGRAM.exists()
