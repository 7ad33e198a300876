# SPDX-License-Identifier: Apache-2.0
"""A collector of our own: takes OTLP over gRPC or HTTP and keeps the spans as plain objects."""
import http.server
import socket
import struct
import threading
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events


@dataclass
class Span:
    trace_id: str
    id: str
    parent: str
    name: str
    kind: int
    start: int
    end: int
    attributes: dict = field(default_factory=dict)
    status: int = 0
    resource: dict = field(default_factory=dict)


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data):
    """{field number: [values]} of one protocol buffer message; lengths must fit exactly."""
    found, at = {}, 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value, at = varint(data, at)
        elif tag & 7 == 1:
            value, at = struct.unpack_from("<Q", data, at)[0], at + 8
        else:
            assert tag & 7 == 2, f"wire type {tag & 7}"
            size, at = varint(data, at)
            assert at + size <= len(data), "a message is longer than what holds it"
            value, at = data[at:at + size], at + size
        found.setdefault(tag >> 3, []).append(value)
    return found


def attributes(pairs):
    out = {}
    for pair in map(fields, pairs):
        value = fields(pair[2][0])
        out[pair[1][0].decode()] = value[1][0].decode() if 1 in value else value[3][0]
    return out


def spans_of(message):
    for resource_spans in map(fields, fields(message).get(1, [])):
        resource = attributes(fields(resource_spans[1][0]).get(1, []))
        for scope in map(fields, resource_spans[2]):
            assert fields(scope[1][0])[1] == [b"tensor-wasm"]
            for span in map(fields, scope.get(2, [])):
                yield Span(span[1][0].hex(), span[2][0].hex(), span.get(4, [b""])[0].hex(), span[5][0].decode(), span[6][0],
                           span[7][0], span[8][0], attributes(span.get(9, [])), fields(span[15][0])[3][0] if 15 in span else 0, resource)


class Collector:
    """with Collector("grpc") as collector: … collector.spans. `refuse` answers the next so many exports with UNAVAILABLE."""

    def __init__(self, protocol):
        self.protocol, self.spans, self.headers, self.refuse = protocol, [], [], 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        threading.Thread(target=self.serve_grpc if self.protocol == "grpc" else self.serve_http, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def take(self, headers, message):
        """Whether it was taken."""
        if self.refuse:
            self.refuse -= 1
            return False
        self.headers.append(headers)
        self.spans.extend(spans_of(message))
        return True

    def serve_http(self):
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                ok = self.path == "/v1/traces" and collector.take(dict(self.headers), body)
                self.send_response(200 if ok else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = self.listener
        server.serve_forever()

    def serve_grpc(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve_grpc_client, args=(peer,), daemon=True).start()

    def serve_grpc_client(self, peer):
        h2c = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        h2c.initiate_connection()
        peer.sendall(h2c.data_to_send())
        headers, bodies = {}, {}
        while data := peer.recv(65536):
            for event in h2c.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    headers[event.stream_id], bodies[event.stream_id] = dict(event.headers), b""
                elif isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] += event.data
                    h2c.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    self.answer_grpc(h2c, event.stream_id, headers.pop(event.stream_id), bodies.pop(event.stream_id))
            peer.sendall(h2c.data_to_send())

    def answer_grpc(self, h2c, stream, headers, body):
        text = {k.decode() if isinstance(k, bytes) else k: v.decode() if isinstance(v, bytes) else v for k, v in headers.items()}
        compressed, size = struct.unpack(">BI", body[:5])
        fits = text[":path"] == "/opentelemetry.proto.collector.trace.v1.TraceService/Export" and text["content-type"] == "application/grpc" \
            and text["te"] == "trailers" and not compressed and size == len(body) - 5
        ok = fits and self.take(text, body[5:])
        h2c.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        h2c.send_data(stream, b"\0\0\0\0\0")
        h2c.send_headers(stream, [("grpc-status", "0" if ok else "14")], end_stream=True)
