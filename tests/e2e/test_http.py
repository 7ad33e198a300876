# SPDX-License-Identifier: Apache-2.0
"""Clients of all kinds: many at once, over HTTP/2, slow ones, rude ones."""
import concurrent.futures
import contextlib
import json
import socket
import statistics
import time

import h2.config
import h2.connection
import h2.events
import pytest

from twtest.build import example, wat
from twtest.paths import SLOW
from twtest.server import eventually

FLOOD = wat('''(module (import "wasi:tensor/host@0.1.0" "emit-chunk" (func $emit (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start") (local $n i32)
      (loop $l (br_if $l (i32.and (i32.eqz (call $emit (i32.const 0) (i32.const 60000)))
        (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 1000)))))))''')


@pytest.fixture(scope="module")
def hello(shared):
    assert shared.client.deploy("http-hello", example("hello")).status == 201
    assert shared.client.deploy("flood", FLOOD).status == 201
    return shared.client


class Http2:
    """One HTTP/2 connection with prior knowledge."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=100 * SLOW)
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.connection.initiate_connection()
        self.flush()

    def flush(self):
        self.socket.sendall(self.connection.data_to_send())

    def start(self, method, path, body=b"", content_type="application/json"):
        stream = self.connection.get_next_available_stream_id()
        headers = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "test")]
        self.connection.send_headers(stream, headers + [("content-type", content_type)] * bool(body), end_stream=not body)
        if body:
            for at in range(0, len(body), 16384):  # a frame's largest size
                self.connection.send_data(stream, body[at:at + 16384], end_stream=at + 16384 >= len(body))
        self.flush()
        return stream

    def finish(self, streams):
        """{stream: (status, body)} when all have ended."""
        status, bodies, open_streams = {}, {s: bytearray() for s in streams}, set(streams)
        while open_streams:
            data = self.socket.recv(65536)
            assert data, "the server closed the connection"
            for event in self.connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    status[event.stream_id] = int(dict(event.headers)[":status"])
                elif isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] += event.data
                    self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    open_streams.discard(event.stream_id)
                else:
                    assert not isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)), event
            self.flush()
        return {s: (status[s], bodies[s]) for s in streams}


def add(x, y):
    return json.dumps({"export": "add", "args": [x, y]}).encode()


def test_http2_with_prior_knowledge(hello):
    http2 = Http2(hello.port)
    stream = http2.start("POST", "/functions/http-hello/invoke", add(40, 2))
    status, body = http2.finish([stream])[stream]
    assert status == 200 and json.loads(body)["result"] == 42


def test_http2_streams_side_by_side(hello):
    http2 = Http2(hello.port)
    streams = {http2.start("POST", "/functions/http-hello/invoke", add(i, i)): 2 * i for i in range(100)}
    for stream, (status, body) in http2.finish(list(streams)).items():
        assert status == 200 and json.loads(body)["result"] == streams[stream]


def test_http2_moves_megabytes_both_ways(hello, shared):
    shared.client.deploy("http-io", wat('''(module
        (import "wasi:tensor/host@0.1.0" "read-input" (func $read (param i32 i32) (result i32)))
        (import "wasi:tensor/host@0.1.0" "emit-chunk" (func $emit (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start") (local $got i32) (loop $l
          (local.set $got (call $read (i32.const 0) (i32.const 65536)))
          (if (i32.gt_s (local.get $got) (i32.const 0)) (then (drop (call $emit (i32.const 0) (local.get $got))) (br $l))))))'''))
    data = bytes(range(256)) * 200  # 50 KiB fit the first window
    http2 = Http2(hello.port)
    stream = http2.start("POST", "/functions/http-io/invoke", data, "application/octet-stream")
    assert http2.finish([stream])[stream] == (200, data)
    stream = http2.start("POST", "/functions/flood/invoke", b"x", "application/octet-stream")
    status, body = http2.finish([stream])[stream]
    assert status == 200 and len(body) == 60_000_000


def test_fifty_clients_at_once(hello):
    def work(number):
        with contextlib.closing(socket.create_connection(("127.0.0.1", hello.port), timeout=30 * SLOW)) as s:
            file = s.makefile("rb")
            for i in range(20):  # one connection, kept alive
                body = add(number, i)
                s.sendall(b"POST /functions/http-hello/invoke HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                          % (len(body), body))
                assert file.readline().split()[1] == b"200"
                length = 0
                while (line := file.readline()) != b"\r\n":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                if json.loads(file.read(length))["result"] != number + i:
                    return False
        return True
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        assert all(pool.map(work, range(50)))


def test_ids_of_a_request(hello):
    reply = hello.get("/healthz", headers={"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
    assert reply.headers["x-trace-id"] == "4bf92f3577b34da6a3ce929d0e0e4736" and reply.headers["x-request-id"]
    assert hello.get("/healthz").headers["x-request-id"] != reply.headers["x-request-id"]


def test_bodies_that_are_too_large_are_refused_early(hello):
    with socket.create_connection(("127.0.0.1", hello.port), timeout=60 * SLOW) as s:
        s.sendall(b"POST /functions/flood/invoke HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n")
        answer = s.recv(4096)
        assert answer.startswith(b"HTTP/1.1 413"), answer
    hello.result("http-hello", "add", [1, 1])


def test_a_body_that_drips_is_still_a_body(hello):
    body = add(3, 4)
    with socket.create_connection(("127.0.0.1", hello.port), timeout=20 * SLOW) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = b"POST /functions/http-hello/invoke HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
            len(body), body)
        for i in range(len(request)):
            s.sendall(request[i:i + 1])
        answer = b""
        while b'"result":7' not in answer:
            answer += s.recv(65536) or pytest.fail(f"the server hung up after {answer}")
        assert answer.startswith(b"HTTP/1.1 200")


def closed_after(s, seconds):
    """Whether the server closes within that time, and what it said."""
    s.settimeout(seconds)
    said = b""
    with contextlib.suppress(ConnectionError):
        while True:
            try:
                data = s.recv(65536)
            except TimeoutError:
                return False, said
            if not data:
                break
            said += data
    return True, said


def test_clients_that_stall_are_let_go_and_hold_up_nobody(hello):
    """Side by side: headers that never end, a body that comes to a halt, an answer that nobody reads."""
    sockets = [socket.create_connection(("127.0.0.1", hello.port)) for _ in range(12)]
    for s in sockets[:5]:
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: t\r\nX-Never:")
    for s in sockets[5:10]:
        s.sendall(b"POST /functions/http-hello/invoke HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\nabc")
    for s in sockets[10:]:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(b"POST /functions/flood/invoke-stream HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n")
    times = []
    for _ in range(20):
        start = time.monotonic()
        assert hello.result("http-hello", "add", [20, 22]) == 42
        times.append(time.monotonic() - start)
    assert statistics.median(times) < 2.5, times  # who waits for one of them waits for ten seconds
    for s in sockets[:10]:
        closed, said = closed_after(s, 60 * SLOW)
        assert closed and (not said or b" 408 " in said.split(b"\r\n")[0]), said[:200]
    for s in sockets:
        s.close()
    eventually(lambda: hello.metric("tensor_wasm_http_connections") <= 3, what="the connections' end")
    assert hello.result("http-hello", "add", [20, 22]) == 42


def test_a_reader_that_comes_back_gets_everything(hello):
    with socket.create_connection(("127.0.0.1", hello.port), timeout=30 * SLOW) as s:
        s.sendall(b"POST /functions/flood/invoke HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        s.recv(100)
        for _ in range(5):
            assert hello.result("http-hello", "add", [1, 2]) == 3
        total = 0
        while data := s.recv(1 << 20):
            total += len(data)
        assert total >= 59_900_000


def test_nonsense_on_the_port(hello):
    for nonsense in (b"\0" * 1000, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 200, b"GET\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
                     b"GET / HTTP/9.9\r\n\r\n", b"A" * 100_000):
        with socket.create_connection(("127.0.0.1", hello.port), timeout=60 * SLOW) as s:
            with contextlib.suppress(ConnectionError):
                s.sendall(nonsense)
                s.shutdown(socket.SHUT_WR)
            closed, said = closed_after(s, 60 * SLOW)
            assert closed and b" 200 " not in said.split(b"\r\n")[0]
    assert hello.get("/healthz").status == 200


def test_version_and_devices(hello):
    assert hello.get("/version").json()["version"]
    assert hello.get("/devices").json()["devices"]
    assert hello.get("/readyz").json()["status"] == "ready"
