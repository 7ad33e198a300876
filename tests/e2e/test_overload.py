# SPDX-License-Identifier: Apache-2.0
"""More calls than the server can run: who is refused, who is not, and how a client is told. How fast the machine is decides nothing here: queues that
must refuse have a target of 1 ms and no patience, those that must not have an hour of it."""
import concurrent.futures
import http.client
import itertools
import select
import socket
import threading

import pytest

from twtest.build import wat
from twtest.client import Client
from twtest.paths import SLOW
from twtest.server import Server, eventually

# Computes for some milliseconds, longer than a moment on any machine.
GUEST = wat("""(module (func (export "f") (result i64) (local $i i32) (local $x i64)
  (loop $l (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))
    (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $l (i32.lt_u (local.get $i) (i32.const 8000000)))) (local.get $x))
  (func (export "g") (result i32) (i32.const 7)))""")
FLOOD, QUIET = 1, 2


def serve(folder, wait_ms, burst_ms):
    return Server(folder, ["--threads", "1", "--queue-wait-ms", str(wait_ms), "--queue-burst-ms", str(burst_ms), "--invoke-timeout-ms", "600000"])


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("strict"), 1, 1) as server:
        for tenant in (FLOOD, QUIET):
            assert Client(server.port, tenant).deploy("f", GUEST).status == 201
        yield server


def flood(client, stop, replies):
    while not stop.is_set():
        replies.append(client.call("f", "f", timeout=600))


def test_a_queue_that_stands_refuses_its_own_tenant_and_no_other(strict):
    client, stop, replies = Client(strict.port, FLOOD), threading.Event(), []
    before = client.metrics()
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        for _ in range(12):
            pool.submit(flood, client, stop, replies)
        try:
            quiet = [Client(strict.port, QUIET).call("f", "f", timeout=600) for _ in range(5)]
            eventually(lambda: sum(r.status != 200 for r in replies) >= 20, what="twenty refusals")
            quiet += [Client(strict.port, QUIET).call("f", "f", timeout=600) for _ in range(5)]
        finally:
            stop.set()
    assert [r.status for r in quiet] == [200] * 10
    refused = [r for r in replies if r.status != 200]
    assert len(refused) < len(replies), "nothing was let in"
    for reply in refused:
        assert (reply.status, reply.kind) in ((429, "tenant_concurrency"), (503, "capacity_exhausted")), reply
        assert 1 <= int(reply.headers["retry-after"]) <= 30 and "calls are ahead" in reply.message
    after = client.metrics()
    counted = sum(after.get(f'tensor_wasm_queue_refusals_total{{reason="{r}"}}', 0) - before.get(f'tensor_wasm_queue_refusals_total{{reason="{r}"}}', 0)
                  for r in ("server", "tenant"))
    assert counted == len(refused)
    # Once it is over everybody is let in, and nothing is left in use.
    assert client.call("f", "g").status == 200
    use = Client(strict.port).get(f"/tenants/{FLOOD}").json()["use"]
    assert use["concurrent_invocations"]["now"] == 0 and use["concurrent_invocations"]["peak"] >= 2


def test_jobs_wait_instead_of_being_refused(strict):
    client = Client(strict.port, FLOOD)
    jobs = [client.post_json("/functions/f/invoke-async", {"export": "f"}) for _ in range(10)]
    assert [j.status for j in jobs] == [202] * 10

    def states():
        return [client.get(f"/jobs/{j.json()['job_id']}").json()["state"] for j in jobs]
    eventually(lambda: not {"queued", "running"} & set(states()), what="the jobs' end")
    assert states() == ["done"] * 10


def test_a_thousand_calls_at_once_are_all_answered(tmp_path):
    body = b'{"export":"g"}'
    request = b"POST /functions/f/invoke HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with serve(tmp_path, 1, 3600000) as server:
        assert server.client.deploy("f", GUEST).status == 201
        sockets = [socket.create_connection(("127.0.0.1", server.port), timeout=60 * SLOW) for _ in range(1000)]
        for one in sockets:
            one.sendall(request)
        for one in sockets:
            answer = b""
            while more := one.recv(65536):
                answer += more
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            one.close()
        assert server.client.metrics().get('tensor_wasm_queue_refusals_total{reason="server"}', 0) == 0


def goes_on_beside_long_deploys(folder, wasm):
    """Whether another tenant had its answers while every deploy of the first was under way still, which each is for five seconds."""
    server = serve(folder, 3600000, 3600000).start()
    deploys = [http.client.HTTPConnection("127.0.0.1", server.port) for _ in range(16)]
    has_ended = lambda: select.select([deploy.sock for deploy in deploys], [], [], 0)[0]
    try:
        for number, deploy in enumerate(deploys):
            deploy.request("POST", f"/functions?name=endless{number}", wasm, {"Content-Type": "application/wasm", "X-TensorWasm-Tenant": str(FLOOD)})
        eventually(lambda: has_ended() or server.client.metric("tensor_wasm_blocking_tasks_queued") == 16 - 4, what="half of the threads taken, the rest queued")
        quiet = Client(server.port, QUIET)
        for _ in range(3):
            assert quiet.get("/functions", timeout=300).json()["functions"] == []
        assert quiet.deploy("f", GUEST).status == 201
        assert quiet.call("f", "g", timeout=300).json()["result"] == 7
        return not has_ended()
    finally:
        server.kill()
        for deploy in deploys:
            deploy.close()


def test_deploys_that_take_long_hold_up_their_own_tenant_and_no_other(tmp_path):
    """Start code that never ends keeps a deploy, and its thread, until the server's time limit."""
    endless = wat('(module (func $start (loop $l (br $l))) (start $start) (func (export "f")))')
    numbers = itertools.count()
    eventually(lambda: goes_on_beside_long_deploys(tmp_path / str(next(numbers)), endless), what="another tenant's answers meanwhile")
