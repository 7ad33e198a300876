# SPDX-License-Identifier: Apache-2.0
"""The machine runs short of something, or its clock jumps: no file descriptors for a deploy (for clients: test_descriptors.py), no address space, files that may not grow, a wall clock that is set
forth and back. Nothing dies, what fails says why, and what comes after works."""
import json
import pathlib
import resource
import socket

import pytest

from twtest.build import wat
from twtest.client import Client
from twtest.paths import PRESET
from twtest.server import Server, eventually

GUEST = wat('(module (memory (export "memory") 1) (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)'
            ' (func (export "spin") (loop br 0)))')
BUSY = {"capacity_exhausted", "store_unavailable", "compile_failed", "internal"}
FAKETIME = next(iter(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)


@pytest.fixture
def server(tmp_path):
    """One of its own, started; it has to end well."""
    with Server(tmp_path) as own:
        yield own


def status_of(pid, field):
    return int(next(line.split()[1] for line in open(f"/proc/{pid}/status") if line.startswith(field + ":")))


def limit(server, what, soft=None):
    """Sets a soft limit of the running server, or puts it back to the hard one."""
    hard = resource.prlimit(server.process.pid, what)[1]
    resource.prlimit(server.process.pid, what, (hard if soft is None else soft, hard))


def works(server, name="after"):
    """Deploys, calls and deletes as ever."""
    assert server.client.deploy(name, GUEST).status == 201
    assert server.client.result(name, "add", [20, 22]) == 42
    assert server.client.request("DELETE", f"/functions/{name}").status == 204


def test_a_deploy_without_file_descriptors_is_refused(server):
    works(server, "before")
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.settimeout(60)
    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    healthy = b""
    while not healthy.endswith(b"}\n"):
        healthy += connection.recv(65536) or pytest.fail("the server hung up")
    assert healthy.startswith(b"HTTP/1.1 200")  # the server has taken the connection
    limit(server, resource.RLIMIT_NOFILE, 8)  # all that are open stay so
    wasm = GUEST + b"\0\3\2ab"
    connection.sendall(b"POST /functions?name=f HTTP/1.1\r\nHost: x\r\nContent-Type: application/wasm\r\n"
                       b"Content-Length: %d\r\n\r\n%b" % (len(wasm), wasm))
    answer = connection.recv(65536)
    limit(server, resource.RLIMIT_NOFILE)
    connection.close()
    status, kind = int(answer.split(b" ")[1]), json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]["kind"]
    assert status >= 400 and kind in BUSY, answer
    works(server)


@pytest.mark.skipif("san" in PRESET, reason="sanitizers need the address space for themselves")
def test_without_address_space_calls_are_refused_and_later_served(tmp_path):
    with Server(tmp_path, ["--warm-per-function", "0"]) as server:
        assert server.client.deploy("f", GUEST).status == 201 and server.client.result("f", "add", [1, 2]) == 3
        limit(server, resource.RLIMIT_AS, (status_of(server.process.pid, "VmSize") + (256 << 10)) << 10)  # less than one more instance reserves
        replies = [server.client.call("f", "spin", headers={"X-TensorWasm-Deadline-Ms": "50"}) for _ in range(3)]
        assert server.client.deploy("g", GUEST + b"\0\3\2ab").status in (201, 400, 503)
        for reply in replies:
            assert reply.kind == "invoke_timeout" or reply.kind in BUSY, reply
        assert server.client.get("/healthz").status == 200
        limit(server, resource.RLIMIT_AS)
        works(server)


def test_files_that_may_not_grow_fail_deploys_and_nothing_else(server):
    assert server.client.deploy("f", GUEST).status == 201
    limit(server, resource.RLIMIT_FSIZE, 1)  # SIGXFSZ would end who does not mind it
    reply = server.client.deploy("g", GUEST + b"\0\3\2ab")
    assert reply.status >= 500 and reply.kind in BUSY, reply
    assert server.client.result("f", "add", [2, 3]) == 5
    limit(server, resource.RLIMIT_FSIZE)
    works(server)


@pytest.mark.skipif(not FAKETIME, reason="libfaketime is not installed")
@pytest.mark.skipif("san" in PRESET, reason="a sanitizer has to be the first library, and so does libfaketime")
def test_a_wall_clock_that_jumps_moves_expiry_and_no_deadline(tmp_path):
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    admin, guest = "admin-token-0123456789", "guest-token-0123456789"
    env = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
           "TENSOR_WASM_API_TOKENS": f"{admin}:tenant=*:role=admin,{guest}:tenant=7:role=deploy:expires=2100-01-01"}
    with Server(tmp_path / "server", dev_mode=False, env=env) as server:
        client = Client(server.port, 7, guest)
        assert client.deploy("f", GUEST).status == 201
        job = client.post_json("/functions/f/invoke-async", {"export": "add", "args": [1, 2]}).json()["job_id"]
        eventually(lambda: client.get(f"/jobs/{job}").json()["state"] == "done", what="the job's end")
        reply = Client(server.port, 7, admin).request("PUT", "/tenants/7", json.dumps({"limits": {"requests_per_s": 1000, "cpu_ms_per_minute": 600000}}),
                                                      {"Content-Type": "application/json"})
        assert reply.status == 200, reply
        for jump in ("+80y", "-20y", "+0"):
            clock.write_text(jump + "\n")
            held = Client(server.port, 7, admin)
            assert held.get("/healthz").status == 200 and held.result("f", "add", [2, 3]) == 5, jump
            late = held.call("f", "spin", headers={"X-TensorWasm-Deadline-Ms": "100"})
            assert (late.status, late.kind) == (504, "invoke_timeout"), (jump, late)
            expired = client.get("/functions")
            assert (expired.kind == "unauthorized") == (jump == "+80y"), (jump, expired)
        assert client.result("f", "add", [4, 5]) == 9 and client.get(f"/jobs/{job}").status in (200, 404)
        again = client.post_json("/functions/f/invoke-async", {"export": "add", "args": [1, 2]}).json()["job_id"]
        eventually(lambda: client.get(f"/jobs/{again}").json()["state"] == "done", what="a job after the jumps")
