# SPDX-License-Identifier: Apache-2.0
"""Traces as a collector receives them: which spans, how they hang together, what is sampled, and that a bad collector harms nobody."""
import os
import pathlib
import re
import socket
import subprocess
import time

import pytest

from twtest.build import guest, wat
from twtest.gotool import go_program
from twtest.otlp import Collector
from twtest.paths import SLOW
from twtest.server import Server, eventually

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = PARENT[:-1] + "0"
ADD = '(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add) (func (export "bad") unreachable))'
IDENTITY = """.version 7.8
.target sm_80
.address_size 64
.visible .entry k(.param .u64 out)
{
    .reg .b32 %r<4>; .reg .b64 %d<4>;
    ld.param.u64 %d1, [out];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %d2, %r1, 4;
    add.u64 %d1, %d1, %d2;
    st.global.u32 [%d1], %r1;
    ret;
}
"""


@pytest.fixture(params=["grpc", "http"])
def traced(request, tmp_path):
    with Collector(request.param) as collector:
        options = ["--otlp-endpoint", collector.endpoint, "--otlp-protocol", request.param, "--otlp-headers", "x-key=abc, x-more=d=e"]
        with Server(tmp_path, options) as own:
            yield own, collector


def listening_port(pid):
    """Where a process listens, as the kernel tells; None when it does not, or no more."""
    try:
        own = {link for link in (os.readlink(f) for f in pathlib.Path(f"/proc/{pid}/fd").iterdir()) if link.startswith("socket:")}
    except OSError:
        return None
    rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return next((int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own), None)


def trace(collector, count, trace_id=PARENT[3:35]):
    """The spans of one trace, once `count` have come, by name."""
    def found():
        spans = [s for s in collector.spans if s.trace_id == trace_id]
        return spans if len(spans) >= count else None
    spans = eventually(found, what=f"{count} spans of {trace_id}")
    assert len(spans) == count, [s.name for s in spans]
    return {span.name: span for span in spans}


def test_a_call_is_a_server_span_with_its_phases_below(traced):
    server, collector = traced
    assert server.client.deploy("sum", wat(ADD)).status == 201
    before = time.time_ns()
    reply = server.client.call("sum", "add", [2, 3], headers={"traceparent": PARENT})
    after = time.time_ns()
    assert reply.json()["result"] == 5
    spans = trace(collector, 4)
    root = spans["POST /functions/:id/invoke"]
    assert root.parent == PARENT[36:52] and root.kind == 2 and root.status == 0
    assert re.fullmatch(f"00-{PARENT[3:35]}-{root.id}-01", reply.headers["traceparent"])
    assert root.attributes == {"http.request.method": "POST", "http.route": "/functions/:id/invoke", "http.response.status_code": 200,
                               "tensor_wasm.tenant": "0", "tensor_wasm.function": "sum", "tensor_wasm.request_id": reply.headers["x-request-id"]}
    assert before <= root.start <= after
    queue, acquire, call = spans["queue"], spans["acquire"], spans["call"]
    assert {s.parent for s in (queue, acquire, call)} == {root.id} and len({s.id for s in spans.values()}) == 4
    assert root.start <= queue.start <= queue.end == acquire.start <= acquire.end == call.start <= call.end <= root.end
    assert root.resource["service.name"] == "tensor-wasm" and root.resource["service.version"]
    sent = {name.lower(): value for name, value in collector.headers[-1].items()}
    assert sent["x-key"] == "abc" and sent["x-more"] == "d=e"


def test_device_work_lies_below_the_call(traced):
    server, collector = traced
    assert server.client.deploy("device", guest("device.c")).status == 201
    reply = server.client.raw("device", IDENTITY.encode(), "run", headers={"traceparent": PARENT})
    assert reply.status == 200, reply
    spans = trace(collector, 6)
    load, launch, call = spans["wasi_cuda.load_ptx"], spans["wasi_cuda.launch"], spans["call"]
    assert load.parent == launch.parent == call.id
    assert call.start <= load.start <= load.end <= launch.start <= launch.end <= call.end
    assert load.attributes == {"tensor_wasm.ptx_bytes": len(IDENTITY)} and launch.attributes == {"tensor_wasm.threads": 64}


def test_failures_are_errors_and_clients_mistakes_are_not(traced):
    server, collector = traced
    assert server.client.deploy("bad", wat(ADD)).status == 201
    assert server.client.call("bad", "bad", headers={"traceparent": PARENT}).status == 502
    spans = trace(collector, 4)
    root, call = spans["POST /functions/:id/invoke"], spans["call"]
    assert root.status == call.status == 2 and call.attributes == {"error.type": "guest_trap"}
    assert root.attributes["http.response.status_code"] == 502 and root.attributes["error.type"] == "guest_trap"
    other = PARENT.replace("4bf9", "5bf9")
    assert server.client.call("nobody", headers={"traceparent": other}).status == 404
    assert trace(collector, 1, other[3:35])["POST /functions/:id/invoke"].status == 0


def test_a_jobs_call_lies_below_the_request_that_started_it(traced):
    server, collector = traced
    assert server.client.deploy("later", wat(ADD)).status == 201
    reply = server.client.post_json("/functions/later/invoke-async", {"export": "bad"}, headers={"traceparent": PARENT})
    assert reply.status == 202, reply
    spans = trace(collector, 5)
    job = spans["job"]
    assert job.parent == spans["POST /functions/:id/invoke-async"].id and job.kind == 1 and job.status == 2
    assert job.attributes == {"tensor_wasm.tenant": "0", "tensor_wasm.function": "later", "error.type": "guest_trap"}
    assert {spans[name].parent for name in ("queue", "acquire", "call")} == {job.id}


def test_a_parents_decision_is_kept_and_probes_are_not_traced(traced):
    server, collector = traced
    reply = server.client.get("/functions", headers={"traceparent": UNSAMPLED.replace("4bf9", "6bf9")})
    assert reply.status == 200 and "traceparent" not in reply.headers
    assert server.client.get("/healthz", headers={"traceparent": PARENT.replace("4bf9", "7bf9")}).status == 200
    begun = server.client.get("/functions")
    assert server.client.get("/functions", headers={"traceparent": PARENT}).status == 200
    assert trace(collector, 1)["GET /functions"].parent == PARENT[36:52]
    assert trace(collector, 1, begun.headers["x-trace-id"])["GET /functions"].parent == ""
    assert {s.trace_id[:4] for s in collector.spans}.isdisjoint({"6bf9", "7bf9"})


def test_the_ratio_is_of_traces_that_begin_here(tmp_path):
    with Collector("http") as collector, Server(tmp_path, ["--otlp-endpoint", collector.endpoint + "/v1/traces", "--trace-ratio", "0"]) as own:
        assert "traceparent" not in own.client.get("/functions").headers
        own.client.get("/functions", headers={"traceparent": PARENT})
        trace(collector, 1)
        assert len(collector.spans) == 1


def test_an_export_that_is_refused_for_now_is_sent_again(traced):
    server, collector = traced
    collector.refuse = 1
    server.client.get("/functions", headers={"traceparent": PARENT})
    trace(collector, 1)
    eventually(lambda: "the collector takes traces again" in server.log, what="the log's line")
    assert "the collector takes no traces" in server.log
    eventually(lambda: server.client.metrics().get('tensor_wasm_trace_spans_total{result="exported"}'), what="the count of exported spans")


def test_without_a_collector_calls_go_on_and_what_is_left_is_sent_at_the_end(tmp_path):
    with socket.socket() as deaf:  # it has the port, and does not listen
        deaf.bind(("127.0.0.1", 0))
        with Server(tmp_path, ["--otlp-endpoint", f"http://127.0.0.1:{deaf.getsockname()[1]}"]) as own:
            for _ in range(50):
                assert own.client.get("/functions").status == 200
    with Collector("grpc") as collector, Server(tmp_path, ["--otlp-endpoint", collector.endpoint]) as own:
        assert own.client.get("/functions", headers={"traceparent": PARENT}).status == 200
        own.stop()
        trace(collector, 1)


@pytest.mark.parametrize("options, message", [
    (["--otlp-endpoint", "collector:4317"], "the traces' endpoint looks like http://collector:4317, not 'collector:4317'"),
    (["--otlp-endpoint", "http://c:4317", "--otlp-protocol", "udp"], "the traces' protocol is auto, grpc or http, not 'udp'"),
    (["--otlp-endpoint", "http://c:4317", "--trace-ratio", "1.5"], "the share of traces to sample lies between 0 and 1"),
    (["--otlp-endpoint", "http://c:4317", "--trace-ratio", "half"], "TENSOR_WASM_TRACE_RATIO takes a number from 0 to 1, not 'half'"),
    (["--otlp-endpoint", "http://c:4317", "--otlp-headers", "secret"], "header 1 of the traces' headers is no name=value"),
])
def test_a_wrong_setting_stops_the_start(tmp_path, options, message):
    own = Server(tmp_path, options).spawn()
    assert own.process.wait(20 * SLOW) == 2 and message in own.log and "secret\n" not in own.log


def start_collector(program, protocol, log):
    """The process and its port, which the kernel chooses."""
    settings = [f"receivers::otlp::protocols::{protocol}::endpoint: 127.0.0.1:0", "exporters::debug::verbosity: detailed",
                "service::pipelines::traces::receivers: [otlp]", "service::pipelines::traces::exporters: [debug]", "service::telemetry::metrics::level: none"]
    with open(log, "wb") as out:
        collector = subprocess.Popen([program, *[f"--config=yaml:{line}" for line in settings]], stdout=out, stderr=out)
    eventually(lambda: b"Everything is ready" in log.read_bytes() or collector.poll() is not None, what="the collector's start")
    assert collector.poll() is None, log.read_text()
    return collector, listening_port(collector.pid)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_an_opentelemetry_collector_understands_it(tmp_path, protocol):
    log = tmp_path / "collector.log"
    collector, port = start_collector(go_program("collector"), protocol, log)
    try:
        with Server(tmp_path / "server", ["--otlp-endpoint", f"http://127.0.0.1:{port}", "--otlp-protocol", protocol]) as own:
            assert own.client.deploy("sum", wat(ADD)).status == 201
            assert own.client.call("sum", "bad", headers={"traceparent": PARENT}).status == 502
            # Each span prints its trace's id.
            eventually(lambda: len(re.findall(f"Trace ID *: {PARENT[3:35]}", log.read_text())) == 4, what="four spans")
        text = log.read_text()
        for line in ["Name *: POST /functions/:id/invoke", "Kind *: Server", "Status code *: Error", "-> error.type: Str\\(guest_trap\\)", "-> service.name: Str\\(tensor-wasm\\)",
                     "-> http.response.status_code: Int\\(502\\)"]:
            assert re.search(line, text), (line, text[-4000:])
    finally:
        collector.terminate()
        collector.wait(60 * SLOW)
