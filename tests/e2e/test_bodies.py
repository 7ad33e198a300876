# SPDX-License-Identifier: Apache-2.0
"""Bodies: large ones go through the disk and memory stays flat; answers come in the coding that was asked for."""
import contextlib
import gzip
import hashlib
import os
import pathlib
import re
import resource
import socket

import pytest

from twtest.build import wat
from twtest.paths import SLOW
from twtest.server import Server, eventually

# Answers with the sum of its input's bytes and their number, as two little-endian 64-bit numbers.
SUM = wat('''(module
    (import "wasi:tensor/host@0.1.0" "read-input" (func $read (param i32 i32) (result i32)))
    (import "wasi:tensor/host@0.1.0" "emit-chunk" (func $emit (param i32 i32) (result i32)))
    (memory (export "memory") 2)
    (func (export "_start") (local $got i32) (local $i i32) (local $sum i64) (local $count i64)
      (loop $l
        (local.set $got (call $read (i32.const 0) (i32.const 65536)))
        (if (i32.gt_s (local.get $got) (i32.const 0)) (then
          (local.set $i (i32.const 0))
          (loop $b
            (local.set $sum (i64.add (local.get $sum) (i64.load8_u (local.get $i))))
            (br_if $b (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $got))))
          (local.set $count (i64.add (local.get $count) (i64.extend_i32_u (local.get $got))))
          (br $l))))
      (i64.store (i32.const 65536) (local.get $sum)) (i64.store (i32.const 65544) (local.get $count))
      (drop (call $emit (i32.const 65536) (i32.const 16)))))''')
TEXT = wat('''(module (import "wasi:tensor/host@0.1.0" "emit-chunk" (func $emit (param i32 i32) (result i32)))
    (import "wasi:tensor/host@0.1.0" "set-content-type" (func $type (param i32 i32) (result i32)))
    (memory (export "memory") 1) (data (i32.const 0) "text/plain")
    (func (export "_start") (local $i i32)
      (drop (call $type (i32.const 0) (i32.const 10)))
      (loop $l (drop (call $emit (i32.const 0) (i32.const 1000)))
        (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 200))))))''')
MIB = 1 << 20


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("bodies")) as server:
        assert server.client.deploy("sum", SUM).status == 201 and server.client.deploy("text", TEXT).status == 201
        yield server


def pattern(size):
    block = bytes((i * 7 + i // 256) % 256 for i in range(65536))
    return (block * (size // 65536 + 1))[:size]


@pytest.mark.parametrize("size", [0, 1, 65536, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 17, 20 * MIB])
def test_a_body_of_any_size_arrives_whole(own, size):
    data = pattern(size)
    reply = own.client.raw("sum", data)
    assert reply.status == 200, reply
    assert (int.from_bytes(reply.body[:8], "little"), int.from_bytes(reply.body[8:], "little")) == (sum(data), size)


def test_a_chunked_body_too(own):
    data = pattern(5 * MIB)
    pieces = [data[at:at + 99_999] for at in range(0, len(data), 99_999)]
    reply = own.client.request("POST", "/functions/sum/invoke", iter(pieces), {"Content-Type": "application/octet-stream"})
    assert reply.status == 200 and int.from_bytes(reply.body[:8], "little") == sum(data), reply


def resident_kib(server):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{server.process.pid}/status").read()).group(1))


def test_many_large_uploads_do_not_fill_the_memory(own):
    """16 uploads of 24 MiB each are almost whole at the same time: 384 MiB, of which the server holds a small part."""
    count, size = 16, 24 * MIB
    data = pattern(size)
    own.client.raw("sum", data)
    before = resident_kib(own)
    head = b"POST /functions/sum/invoke HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % size
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(count):
            sockets.append(stack.enter_context(socket.create_connection(("127.0.0.1", own.port), timeout=60 * SLOW)))
            sockets[-1].sendall(head + data[:-1])
        # Two blocks each and their slack, three times less than the bodies. A sanitizer keeps what was freed.
        assert SLOW > 1 or resident_kib(own) - before < count * 8 * 1024
        for s in sockets:
            s.sendall(data[-1:])
        for s in sockets:
            answer = b""
            while b"\r\n\r\n" not in answer or len(answer.split(b"\r\n\r\n", 1)[1]) < 16:
                answer += s.recv(4096)
            assert answer.startswith(b"HTTP/1.1 200") and int.from_bytes(answer[-8:], "little") == size


def target_of(descriptor):
    """What /proc/PID/fd/N names; nothing when it was closed meanwhile."""
    try:
        return os.readlink(descriptor)
    except FileNotFoundError:
        return ""


def test_uploads_that_are_broken_off_leave_nothing(own):
    def open_files():
        found = [target_of(f) for f in pathlib.Path(f"/proc/{own.process.pid}/fd").iterdir()]
        return sum("(deleted)" in target and "memfd" not in target for target in found)
    before = open_files()
    for sent in (MIB + 100_000, 5 * MIB, 12 * MIB):
        with socket.create_connection(("127.0.0.1", own.port), timeout=20 * SLOW) as s:
            s.sendall(b"POST /functions/sum/invoke HTTP/1.1\r\nHost: t\r\nContent-Length: 60000000\r\n\r\n" + pattern(sent))
    eventually(lambda: open_files() <= before, what="the files' end")
    assert own.client.raw("sum", b"abc").status == 200


def test_a_disk_that_takes_no_more_refuses_the_body_and_serves_the_rest(tmp_path):
    with Server(tmp_path) as server:
        assert server.client.deploy("sum", SUM).status == 201
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (2 * MIB, resource.RLIM_INFINITY))
        reply = server.client.raw("sum", pattern(6 * MIB))
        assert reply.status == 503 and reply.kind == "store_unavailable" and reply.headers["retry-after"], reply
        assert "body" in reply.message
        assert server.client.raw("sum", pattern(MIB)).status == 200
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert server.client.raw("sum", pattern(6 * MIB)).status == 200


# ---- codings ----

def coded(own, accept, path="/openapi.json"):
    return own.client.get(path, headers={"Accept-Encoding": accept} if accept is not None else {})


def test_gzip_when_it_is_asked_for(own):
    plain, packed = coded(own, "identity"), coded(own, "gzip")
    assert "content-encoding" not in plain.headers and packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body and len(packed.body) < len(plain.body) / 3
    assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding" and plain.headers["etag"] == packed.headers["etag"]


@pytest.mark.parametrize("accept, wanted", [
    (None, None), ("", None), ("identity", None), ("br", None), ("gzip;q=0", None), ("gzip;q=0.5, identity;q=0.8", None), ("gzip;q=2", None),
    ("gzip", "gzip"), ("GZIP", "gzip"), ("gzip;q=0.001", "gzip"), ("deflate, gzip, br", "gzip"), ("zstd;q=0.5, gzip;q=0.6", "gzip"), ("*;q=0.1, zstd;q=0", "gzip"),
    ("zstd", "zstd"), ("gzip, zstd", "zstd"), ("*", "zstd"), ("gzip;q=0, *", "zstd"), ("zstd; Q=0.3 , gzip; q=0.3", "zstd")])
def test_the_coding_follows_the_weights(own, accept, wanted):
    if accept is None:  # http.client adds one of its own
        with socket.create_connection(("127.0.0.1", own.port), timeout=20) as s:
            s.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: t\r\n\r\n")
            assert b"content-encoding" not in s.recv(65536).lower()
        return
    assert coded(own, accept).headers.get("content-encoding") == wanted


def test_zstd_gives_the_same_text(own):
    import subprocess
    packed = coded(own, "zstd").body
    assert packed[:4] == b"\x28\xb5\x2f\xfd"
    done = subprocess.run(["zstd", "-dc"], input=packed, capture_output=True)
    assert done.returncode == 0 and hashlib.sha256(done.stdout).digest() == hashlib.sha256(coded(own, "").body).digest()


def test_small_and_unknown_bodies_are_left_alone(own):
    assert "content-encoding" not in coded(own, "gzip", "/healthz").headers
    raw = own.client.raw("sum", pattern(100), headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in raw.headers


def test_a_guests_text_is_coded_off_the_loop(own):
    plain = own.client.raw("text", headers={"Accept-Encoding": "identity"})
    packed = own.client.raw("text", headers={"Accept-Encoding": "gzip"})
    assert len(plain.body) == 200_000 and packed.headers["content-encoding"] == "gzip" and gzip.decompress(packed.body) == plain.body
    stream = own.client.request("POST", "/functions/text/invoke-stream", b"", {"Accept-Encoding": "gzip"})
    assert "content-encoding" not in stream.headers and stream.body == plain.body


def test_head_has_the_coded_length(own):
    head = own.client.request("HEAD", "/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert head.headers["content-length"] == str(len(coded(own, "gzip").body)) and head.body == b""
