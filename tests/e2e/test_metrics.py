# SPDX-License-Identifier: Apache-2.0
"""The metrics: all declared ones are there, Prometheus' own tool likes them, and each moves when what it counts happens."""
import contextlib
import itertools
import os
import re
import signal
import socket
import subprocess
import threading

import pytest

from twtest.build import big_module, example, guest, wat
from twtest.client import Client
from twtest.paths import ROOT, SLOW
from twtest.server import Server, eventually



def declared():
    """{name: (kind, labels)} of the table."""
    text = (ROOT / "src/telemetry/metrics.def").read_text()
    return {name: (kind, labels) for name, kind, labels in re.findall(r'TW_METRIC\(\w+,\s*"([^"]+)",\s*(\w+),\s*"([^"]*)"', text)}


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("metrics"), ["--kernel-timeout-ms", "500"]) as own:
        yield own


def change(client, name, act, labels=""):
    """By how much a metric's samples (whose labels contain a text) grew while act() ran."""
    def total():
        return sum(v for k, v in client.metrics().items() if k.split("{")[0] == name and labels in k)
    before = total()
    act()
    return total() - before


def test_every_declared_metric_is_exposed_and_documented(busy):
    text = busy.client.get("/metrics").body.decode()
    for name, (kind, _) in declared().items():
        assert f"# HELP {name} " in text and f"# TYPE {name} " in text, name
    assert text.endswith("\n")


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_promtool_accepts_them(busy, accept):
    reply = busy.client.get("/metrics", headers={"Accept": accept} if accept else {})
    if accept:
        assert reply.headers["content-type"].startswith("application/openmetrics-text") and reply.body.endswith(b"# EOF\n")
        return  # promtool reads the plain format only
    done = subprocess.run(["promtool", "check", "metrics"], input=reply.body, capture_output=True)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


def test_calls_and_instances(busy):
    client = busy.client
    assert change(client, "tensor_wasm_compile_seconds_count", lambda: client.deploy("hello", example("hello")), 'kind="wasm"') == 1
    assert client.metric("tensor_wasm_functions") == 1
    call = lambda: client.result("hello", "add", [1, 2])
    assert change(client, "tensor_wasm_invokes_total", call, 'result="ok"') == 1
    assert change(client, "tensor_wasm_invoke_phase_seconds_count", call, 'phase="run"') == 1
    assert change(client, "tensor_wasm_pool_draws_total", call) == 1
    # These are counted when an answer has gone out, which its client may have seen by then. It were three calls that ended well.
    route = 'route="/functions/:id/invoke",method="POST",status="200"'
    for name in ("tensor_wasm_http_requests_total", "tensor_wasm_http_request_duration_seconds_count"):
        eventually(lambda: sum(v for k, v in client.metrics().items() if k.split("{")[0] == name and route in k) == 3, what=name)
    assert client.metric("tensor_wasm_instance_spawns_total") >= 1
    assert client.metric("tensor_wasm_active_instances") >= client.metric("tensor_wasm_pool_warm_instances") >= 1
    assert client.metrics()['tensor_wasm_cpu_memory_bytes_per_tenant{tenant_id="0"}'] >= 65536
    assert client.metric("tensor_wasm_instance_spawns_total") >= client.metric("tensor_wasm_instance_terminations_total")
    assert change(client, "tensor_wasm_invokes_total", lambda: client.call("hello", "nosuch"), 'result="missing_export"') == 1
    assert client.metric("tensor_wasm_build_info") == 1
    assert client.metric("tensor_wasm_http_requests_in_flight") >= 1  # the one that asks
    assert client.metric("tensor_wasm_http_connections") >= 1


def test_instances_that_end_are_counted(busy):
    client = Client(busy.port, tenant=77)
    memory = lambda: client.metrics()['tensor_wasm_cpu_memory_bytes_per_tenant{tenant_id="77"}']
    client.deploy("short", wat('(module (memory (export "memory") 3) (func (export "f") (drop (memory.grow (i32.const 5)))))'))
    client.result("short", "f")
    ended = "tensor_wasm_instance_terminations_total"
    before = client.metric(ended)
    assert memory() == 3 * 65536  # the warm instance, reset after the call
    client.request("DELETE", "/functions/short")
    eventually(lambda: client.metric(ended) > before and memory() == 0, what="the warm instance's end")


def test_streamed_chunks(busy):
    client = busy.client
    client.deploy("hello", example("hello"))
    assert change(client, "tensor_wasm_streaming_chunks_emitted_total",
                  lambda: client.request("POST", "/functions/hello/invoke-stream", b"")) == 1


def test_kernels(busy):
    from test_cuda import IDENTITY as good, kernel as ptx
    client = Client(busy.port, tenant=3)
    client.deploy("cuda", guest("device.c"))
    run = lambda text: client.raw("cuda", text.encode(), "run")
    mine = 'tenant="3"'
    assert change(client, "tensor_wasm_kernel_loads_total", lambda: run(good), 'result="compiled"') == 1
    assert change(client, "tensor_wasm_kernel_loads_total", lambda: run(good), 'result="cached"') == 1
    assert change(client, "tensor_wasm_kernel_loads_total", lambda: run("nonsense"), 'result="failed"') == 1
    assert change(client, "tensor_wasm_kernel_dispatches_total", lambda: run(good), mine) == 1
    assert change(client, "tensor_wasm_kernel_latency_seconds_count", lambda: run(good), mine) == 1
    assert change(client, "tensor_wasm_kernel_failures_total", lambda: run(ptx("    trap;")), mine) == 1
    assert client.metric("tensor_wasm_compile_seconds_count") >= 1


@pytest.mark.stops_kernels
def test_permits_and_device_memory_while_a_kernel_runs(busy):
    from test_cuda import LOOP
    client = Client(busy.port, tenant=3)
    client.deploy("cuda", guest("device.c"))
    at_rest = client.metrics()
    assert at_rest["tensor_wasm_backpressure_permits_used"] == 0
    seen = threading.Event()

    def launch():  # each is ended soon; on a busy machine a look may come too late for one
        while not seen.is_set():
            client.raw("cuda", LOOP.encode(), "run")
    thread = threading.Thread(target=launch, daemon=True)
    thread.start()
    running = eventually(lambda: (lambda m: m if m["tensor_wasm_backpressure_permits_used"] else None)(client.metrics()))
    assert running["tensor_wasm_backpressure_permits_available"] == at_rest["tensor_wasm_backpressure_permits_available"] - 1
    assert running["tensor_wasm_gpu_memory_used_bytes"] >= 256
    assert running['tensor_wasm_gpu_memory_bytes_per_tenant{tenant_id="3"}'] >= 256
    seen.set()
    thread.join()
    eventually(lambda: client.metric("tensor_wasm_backpressure_permits_used") == 0, what="no permit in use")


def test_refusals_are_counted_by_reason(busy):
    def nonsense():
        with socket.create_connection(("127.0.0.1", busy.port), timeout=60 * SLOW) as s, contextlib.suppress(ConnectionError):
            s.sendall(b"GET / HTTP/1.1\r\nno header\r\n\r\n")
            while s.recv(4096):
                pass
    before = busy.client.metric("tensor_wasm_http_rejected_total")
    nonsense()
    eventually(lambda: busy.client.metric("tensor_wasm_http_rejected_total") > before, what="the count")


def test_compilers_that_are_replaced_are_counted(busy):
    client, numbers = busy.client, itertools.count()
    before = client.metric("tensor_wasm_compiler_restarts_total")

    def compiles():
        number = next(numbers)
        return client.deploy(f"compiled-{number}", big_module(3, seed=1000 + number)).status == 201

    def is_counted():
        for pid in busy.compilers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        compiles()  # it finds its compiler gone; one that was killed while it started was not there to be replaced
        return client.metric("tensor_wasm_compiler_restarts_total") > before
    eventually(compiles, what="a compiler that has started")
    eventually(is_counted, what="a compiler that was replaced")


def test_tenants_and_labels_are_bounded(busy):
    for tenant in range(1000, 1400):
        Client(busy.port, tenant=tenant).get("/functions")
    assert len(busy.client.get("/metrics").body) < 4 << 20
    for path in ("/nothing-here", "/functions/a/b/c/d", "/x" * 100):
        busy.client.get(path)
    routes = {re.search('route="([^"]*)"', k).group(1) for k in busy.client.metrics() if k.startswith("tensor_wasm_http_requests_total")}
    assert not any("nothing" in r or "/x/x" in r for r in routes)


def test_long_calls_are_found_and_then_foreseen(busy):
    client = busy.client
    assert client.deploy("spin", wat('(module (func (export "_start") (loop $l (br $l))))')).status == 201

    def is_counted(begin):
        reply = client.call("spin", headers={"X-TensorWasm-Deadline-Ms": "300"})
        assert reply.kind == "invoke_timeout", reply
        return client.metrics().get(f'tensor_wasm_long_calls_total{{begin="{begin}"}}', 0) >= 1
    eventually(lambda: is_counted("found"), what="a call that is found to be long")
    eventually(lambda: is_counted("foreseen"), what="a call that begins as a long one")
