# SPDX-License-Identifier: Apache-2.0
"""SIGTERM: calls end and the server with them; a second one ends both at once."""
import http.client
import signal
import threading

from twtest.build import wat
from twtest.paths import SLOW
from twtest.server import Server, eventually

SPIN = wat('(module (memory (export "memory") 1) (func (export "_start") (loop $l (br $l))))')
# Counts down a number of loops: long enough to be running when the signal comes, and it ends by itself.
COUNT = wat('''(module (memory (export "memory") 1) (func (export "count") (param $n i64) (result i64) (local $i i64)
    (loop $l (local.set $i (i64.add (local.get $i) (i64.const 1))) (br_if $l (i64.lt_u (local.get $i) (local.get $n))))
    (local.get $i)))''')


def in_background(act):
    """Runs act() in a thread; the list gets its result or the error it ended with."""
    result = []

    def run():
        try:
            result.append(act())
        except (http.client.HTTPException, OSError) as error:
            result.append(error)
    thread = threading.Thread(target=run)
    thread.start()
    return thread, result


def ends(server, status):
    """Waits for the server's end, which has to be this one."""
    assert server.process.wait(40 * SLOW) == status, server.log
    server.process = None


def busy(server):
    """How many calls run now."""
    return server.client.metric("tensor_wasm_http_requests_in_flight") >= 2  # /metrics itself is one


def test_a_running_call_ends_before_the_server(tmp_path):
    with Server(tmp_path) as server:
        server.client.deploy("count", COUNT)
        thread, result = in_background(lambda: server.client.call("count", "count", [str(300_000_000)]))
        eventually(lambda: busy(server) or result)
        server.process.send_signal(signal.SIGTERM)
        ends(server, 0)
        thread.join()
        assert result[0].status == 200 and result[0].json()["result"] == 300_000_000, result
        assert "stopped" in server.log and "cancelled" not in server.log


def test_readyz_says_so_first_while_the_grace_lasts(tmp_path):
    with Server(tmp_path, ["--drain-grace-ms", "600000"]) as server:
        server.client.deploy("count", COUNT)
        server.process.send_signal(signal.SIGTERM)
        refused = eventually(lambda: (r := server.client.get("/readyz")).status == 503 and r)
        assert refused.kind == "draining" and refused.headers["retry-after"]
        assert server.client.get("/healthz").status == 200
        assert server.client.result("count", "count", [1]) == 1  # work goes on
        server.process.send_signal(signal.SIGTERM)
        ends(server, 1)


def test_a_second_signal_cancels_what_runs(tmp_path):
    with Server(tmp_path, ["--invoke-timeout-ms", "600000", "--drain-ms", "600000"]) as server:
        server.client.deploy("spin", SPIN)
        job = server.client.request("POST", "/functions/spin/invoke-async", b"").json()["job_id"]
        eventually(lambda: server.client.get(f"/jobs/{job}").json()["state"] == "running")
        thread, result = in_background(lambda: server.client.raw("spin", timeout=600))
        eventually(lambda: busy(server) or result)
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: "draining" in server.log)
        assert not server.has_ended
        server.process.send_signal(signal.SIGTERM)
        ends(server, 1)
        thread.join()
        assert (result[0].status, result[0].kind) == (503, "draining") and result[0].headers["retry-after"], result
        assert "a second signal" in server.log
        server.start()
        assert server.client.get(f"/jobs/{job}").json()["state"] == "cancelled"


def test_jobs_that_outlast_the_drain_are_cancelled_and_the_exit_is_in_order(tmp_path):
    with Server(tmp_path, ["--invoke-timeout-ms", "600000", "--drain-ms", "300"]) as server:
        server.client.deploy("spin", SPIN)
        job = server.client.request("POST", "/functions/spin/invoke-async", b"").json()["job_id"]
        eventually(lambda: server.client.get(f"/jobs/{job}").json()["state"] == "running")
        server.process.send_signal(signal.SIGTERM)
        ends(server, 0)
        server.start()
        assert server.client.get(f"/jobs/{job}").json()["state"] == "cancelled"
