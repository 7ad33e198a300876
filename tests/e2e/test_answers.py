# SPDX-License-Identifier: Apache-2.0
"""Calls that are stopped while the collector lets a long list of objects go: answered before it has ended, and paid for until then."""
import concurrent.futures
import json
import signal
import time

import pytest

from twtest.client import Client
from twtest.paths import SLOW
from twtest.server import Server, eventually



def section(number, *items):
    body = bytes([len(items)]) + b"".join(items)
    return bytes([number, len(body)]) + body


def code(hex_text):
    body = bytes.fromhex(hex_text)
    return bytes([len(body)]) + body


# Makes lists of that many objects and lets each go, for ever. In bytes, since Debian's wat2wasm knows no objects:
#   (type $s (struct (field (mut (ref null $s))))) (global $keep (mut (ref null $s)) (ref.null $s))
#   (func (export "churn") (param $length i32) (local $n i32)
#     (loop $l (global.set $keep (struct.new $s (global.get $keep)))
#       (if (i32.eq (local.tee $n (i32.add (local.get $n) (i32.const 1))) (local.get $length))
#         (then (local.set $n (i32.const 0)) (global.set $keep (ref.null $s))))
#       (br $l)))
#   (func (export "good") (result i32) (i32.const 7))
CHURN = b"".join((
    b"\0asm\1\0\0\0",
    section(1, bytes.fromhex("5f 01 63 00 01"), bytes.fromhex("60 01 7f 00"), bytes.fromhex("60 00 01 7f")),
    section(3, b"\1", b"\2"),
    section(6, bytes.fromhex("63 00 01 d0 00 0b")),
    section(7, b"\5churn\0\0", b"\4good\0\1"),
    section(10, code("01 01 7f  03 40  23 00 fb 00 00 24 00  20 01 41 01 6a 22 01 20 00 46  04 40  41 00 21 01 d0 00 24 00  0b  0c 00  0b  0b"),
            code("00 41 07 0b"))))
TENANT, NEIGHBOUR, PERMITS = 1, 2, 4
ANSWERED = "tensor_wasm_calls_answered_ahead_total"


@pytest.fixture
def churning(tmp_path):
    with Server(tmp_path, ["--warm-per-function", "0"]) as server:
        for tenant in (TENANT, NEIGHBOUR):
            assert Client(server.port, tenant).deploy("churn", CHURN).status == 201
        limits = {"limits": {"concurrent_invocations": PERMITS}}
        assert server.client.request("PUT", f"/tenants/{TENANT}", json.dumps(limits), {"Content-Type": "application/json"}).status == 200
        yield server


def churn(client, length, deadline_ms):
    return client.call("churn", "churn", [length], {"X-TensorWasm-Deadline-Ms": str(deadline_ms)})


def held(client):
    return client.get(f"/tenants/{client.tenant}").json()["use"]["concurrent_invocations"]["now"]


def is_clean(client):
    use = client.get(f"/tenants/{client.tenant}").json()["use"]
    return all(use[name]["now"] == 0 for name in ("concurrent_invocations", "instances", "cpu_memory_bytes"))


def until_answered(server, act):
    """Does so at other moments until a call was answered while its guest was in the collector."""
    for i in range(500):
        act(50 + i * 37 % 250)
        if server.client.metric(ANSWERED):
            return
    raise AssertionError("every call was answered after the collector")


def test_many_calls_at_their_deadlines_hold_no_more_guests_than_permits_and_harm_no_neighbour(churning):
    client, neighbour = Client(churning.port, TENANT), Client(churning.port, NEIGHBOUR)
    replies, uses = [], []
    with concurrent.futures.ThreadPoolExecutor(2 * PERMITS) as pool:
        for i in range(120):
            replies.append(pool.submit(churn, client, 20_000 + i % 5 * 100_000, 1 + i * 7 % 60))
        for _ in range(20):
            assert neighbour.result("churn", "good") == 7
            uses.append(held(client))
    kinds = [reply.result().kind for reply in replies]
    assert set(kinds) <= {"invoke_timeout", "tenant_concurrency"} and "invoke_timeout" in kinds, set(kinds)
    assert max(uses) <= PERMITS
    until_answered(churning, lambda ms: churn(client, 1_000_000, ms))
    eventually(lambda: is_clean(client), what="what its guests held")
    peak = client.get(f"/tenants/{TENANT}").json()["use"]["concurrent_invocations"]["peak"]
    assert 1 <= peak <= PERMITS
    assert eventually(lambda: client.result("churn", "good") == 7)


def test_each_is_counted_once(churning):
    client, calls = Client(churning.port, TENANT), []
    until_answered(churning, lambda ms: calls.append(churn(client, 1_000_000, ms).kind))
    eventually(lambda: is_clean(client))
    told = churning.client.metrics()
    assert told['tensor_wasm_invokes_total{result="invoke_timeout"}'] == calls.count("invoke_timeout")
    assert sum(value for key, value in told.items() if key.startswith("tensor_wasm_invokes_total")) == len(calls)
    assert churning.client.get(f"/tenants/{TENANT}").json()["use"]["cpu_ms_per_minute"]["total_ms"] > 0


def test_a_job_that_is_cancelled_meanwhile_is_cancelled(churning):
    client, neighbour = Client(churning.port, TENANT), Client(churning.port, NEIGHBOUR)

    def cancel(after_ms):
        job = client.post_json("/functions/churn/invoke-async", {"export": "churn", "args": [1_000_000]}).json()["job_id"]
        eventually(lambda: client.get(f"/jobs/{job}").json()["state"] == "running")
        until = time.monotonic() + after_ms / 1000
        while time.monotonic() < until:
            assert neighbour.result("churn", "good") == 7
        assert client.request("DELETE", f"/jobs/{job}").status in (202, 204)
        ended = eventually(lambda: (told := client.get(f"/jobs/{job}").json())["state"] not in ("queued", "running") and told)
        assert ended["state"] == "cancelled", ended

    until_answered(churning, cancel)
    eventually(lambda: is_clean(client))


def test_a_shutdown_waits_for_guests_whose_calls_were_answered(churning):
    client = Client(churning.port, TENANT)
    until_answered(churning, lambda ms: churn(client, 1_000_000, ms))
    churning.process.send_signal(signal.SIGTERM)
    assert churning.process.wait(60 * SLOW) == 0, churning.log
    churning.process = None
    assert "stopped" in churning.log
