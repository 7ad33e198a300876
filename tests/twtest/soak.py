# SPDX-License-Identifier: Apache-2.0
"""A mixed load that leaves nothing behind: calls, traps, deadlines, kernels, jobs, streams, kept instances, deploys and deletes, clients that go away.
Answers are checked as it goes; what the server holds (memory, descriptors, threads, mappings) is looked at from outside."""
import contextlib
import json
import pathlib
import random
import socket
import statistics
import threading
import time

from .build import example, leb, section, wat
from .server import children_of

GUEST = wat("""(module
  (import "wasi:tensor/host@0.1.0" "read-input" (func $read (param i32 i32) (result i32)))
  (import "wasi:tensor/host@0.1.0" "emit-chunk" (func $emit (param i32 i32) (result i32)))
  (memory (export "memory") 2 64) (global $calls (mut i32) (i32.const 0))
  (func (export "add") (param i32 i32) (result i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1))) (i32.add (local.get 0) (local.get 1)))
  (func (export "count") (result i32) (global.set $calls (i32.add (global.get $calls) (i32.const 1))) (global.get $calls))
  (func (export "grow") (result i32)
    (drop (memory.grow (i32.const 32))) (memory.fill (i32.const 0) (i32.const 7) (i32.const 2000000)) (memory.size))
  (func (export "trap") unreachable)
  (func (export "spin") (loop br 0))
  (func (export "stream") (local $n i32)
    (loop $more (drop (call $emit (i32.const 0) (i32.const 1000)))
      (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 20)))))
  (func (export "_start") (drop (call $emit (i32.const 0) (call $read (i32.const 0) (i32.const 60000))))))""")


def constant_module(value):
    """A module of its own for each value: f() is value, which is below 2**26."""
    constant = bytes([value & 0x7f | 0x80, value >> 7 & 0x7f | 0x80, value >> 14 & 0x7f | 0x80, value >> 21 & 0x3f])
    body = b"\x00\x41" + constant + b"\x0b"
    return (b"\0asm\1\0\0\0" + section(1, b"\x01\x60\x00\x01\x7f") + section(3, b"\x01\x00") + section(7, b"\x01\x01f\x00\x00") +
            section(10, b"\x01" + leb(len(body)) + body))


def expect(reply, status):
    assert reply.status == status, reply
    return reply


class Soak:
    """Keeps `threads` clients busy on a started server until stop()."""

    def __init__(self, server, threads=6, has_devices=True):
        self.server, self.client = server, server.client
        self.stopping, self.failures, self.counts = threading.Event(), [], {}
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.work, args=(i,)) for i in range(threads)]
        expect(self.client.deploy("soak", GUEST), 201)
        self.operations = [(weight, operation) for weight, operation in self.OPERATIONS if has_devices or operation is not Soak.kernel]
        if has_devices:
            expect(self.client.deploy("soak-kernel", example("vector_add")), 201)

    # ---- one operation each ----
    def call(self, rng):
        a, b = rng.randrange(1000), rng.randrange(1000)
        assert expect(self.client.call("soak", "add", [a, b]), 200).json()["result"] == a + b

    def raw(self, rng):
        data = rng.randbytes(rng.randrange(1, 50000))
        assert expect(self.client.raw("soak", data), 200).body == data

    def grow(self, _):
        assert self.client.result("soak", "grow") == 34

    def trap(self, _):
        assert expect(self.client.call("soak", "trap"), 502).json()["error"]["trap"] == "unreachable"

    def late(self, _):
        expect(self.client.call("soak", "spin", headers={"X-TensorWasm-Deadline-Ms": "30"}), 504)

    def kernel(self, rng):
        n = rng.randrange(1, 20000)
        wanted = 3 * sum(i % 1000 for i in range(n))
        assert expect(self.client.call("soak-kernel", "vector_add", [n]), 200).json()["result"] == wanted

    def job(self, rng):
        cancel = rng.random() < 0.3
        body = {"export": "spin"} if cancel else {"export": "add", "args": [1, 2]}
        path = "/jobs/" + expect(self.client.post_json("/functions/soak/invoke-async", body), 202).json()["job_id"]
        if cancel:
            self.client.request("DELETE", path)
        while not self.stopping.is_set() and self.client.get(path).json()["state"] in ("queued", "running"):
            time.sleep(0.01)
        self.client.request("DELETE", path)  # ended jobs are kept for a while otherwise

    def stream(self, _):
        reply = self.client.request("POST", "/functions/soak/invoke-stream?export=stream", b"", {"Content-Type": "text/plain"})
        assert len(expect(reply, 200).body) == 20000

    def deploy(self, rng):
        name, value = f"soak-{rng.getrandbits(48):x}", rng.getrandbits(26)
        expect(self.client.deploy(name, constant_module(value)), 201)
        assert self.client.result(name, "f") == value
        expect(self.client.request("DELETE", f"/functions/{name}"), 204)

    def keep(self, _):
        path = "/instances/" + expect(self.client.post_json("/instances", {"function": "soak"}), 201).json()["id"]
        for wanted in (1, 2):
            assert expect(self.client.post_json(f"{path}/invoke", {"export": "count"}), 200).json()["result"] == wanted
        expect(self.client.request("DELETE", path), 204)

    def leave(self, _):
        body = json.dumps({"export": "spin"}).encode()
        with contextlib.closing(socket.create_connection(("127.0.0.1", self.server.port))) as connection:
            connection.sendall(b"POST /functions/soak/invoke HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                               b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    OPERATIONS = [(20, call), (10, raw), (4, grow), (4, trap), (1, late), (4, kernel), (4, job), (4, stream), (1, deploy), (3, keep), (1, leave)]

    # ---- running ----
    def work(self, seed):
        rng = random.Random(seed)
        weights, operations = zip(*self.operations)
        while not self.stopping.is_set():
            operation = rng.choices(operations, weights)[0]
            try:
                operation(self, rng)
            except Exception as error:  # whatever it is, the report names it
                self.failures.append(f"{operation.__name__}: {type(error).__name__}: {error}")
                return
            with self.lock:
                self.counts[operation.__name__] = self.counts.get(operation.__name__, 0) + 1

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


def held(pid, compilers=True):
    """What a process holds, and the compiler processes below it, which come and go."""
    total = {"pss_kib": 0, "descriptors": 0, "threads": 0, "mappings": 0, "processes": 0}
    for process in [pid, *(children_of(pid) if compilers else [])]:
        folder = pathlib.Path(f"/proc/{process}")
        with contextlib.suppress(OSError):  # a compiler's child lives for a moment only
            rollup = (folder / "smaps_rollup").read_text()
            found = {"pss_kib": int(rollup.split("Pss:")[1].split()[0]), "descriptors": len(list((folder / "fd").iterdir())),
                     "threads": len(list((folder / "task").iterdir())), "mappings": (folder / "maps").read_text().count("\n"), "processes": 1}
            for key, value in found.items():
                total[key] += value
    return total


def median_of(samples):
    return {key: round(statistics.median(sample[key] for sample in samples)) for key in samples[0]}
