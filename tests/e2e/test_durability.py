# SPDX-License-Identifier: Apache-2.0
"""What was acknowledged stays: restarts, kill -9, full and read-only disks, compilers that die or hang."""
import contextlib
import hashlib
import http.client
import itertools
import os
import random
import re
import signal
import subprocess
import threading
import time
import zlib

import pytest

from twtest.build import big_module, example, leb, section, wat
from twtest.paths import SLOW
from twtest.server import Server, eventually


def answer(number):
    return wat(f'(module (memory (export "memory") 1) (func (export "answer") (result i32) (i32.const {number})))')


def answer_bytes(number):
    """The same made by hand, which is quicker than a compiler."""
    value, constant = number, b""
    while True:  # signed LEB128
        byte, value = value & 0x7F, value >> 7
        constant += bytes([byte if value == 0 and not byte & 0x40 else byte | 0x80])
        if value == 0 and not byte & 0x40:
            break
    code = b"\0\x41" + constant + b"\x0b"
    return (b"\0asm\1\0\0\0" + section(1, b"\1\x60\0\1\x7f") + section(3, b"\1\0") + section(5, b"\1\0\1") +
            section(7, b"\2\6answer\0\0\6memory\2\0") + section(10, b"\1" + leb(len(code)) + code))


def compilations(client):
    """Those that somebody waited for: better code for a kernel that runs may come at any time."""
    metrics = client.metrics()
    return metrics.get('tensor_wasm_compile_seconds_count{kind="wasm"}', 0) + metrics.get('tensor_wasm_kernel_loads_total{result="compiled"}', 0)


def test_a_restart_serves_without_compiling(server):
    with server:
        for name in ("hello", "edges", "vector_add"):
            assert server.client.deploy(name, example(name)).status == 201
        assert compilations(server.client) >= 3
        expected = server.client.raw("edges", b"P5\n3 3\n255\n" + bytes(range(9))).body
        assert server.client.result("vector_add", "vector_add", [100]) == 3 * 4950
    with server:
        assert server.client.result("hello", "add", [2, 3]) == 5
        assert server.client.raw("edges", b"P5\n3 3\n255\n" + bytes(range(9))).body == expected
        assert server.client.result("vector_add", "vector_add", [100]) == 3 * 4950
        assert compilations(server.client) == 0
        eventually(lambda: len(server.compilers()) <= 2, what="no more than the one that waits for a deploy, and its child")
        assert server.client.get("/functions/hello").json()["version"] == 1


def test_versions_and_settings_survive(server):
    with server:
        server.client.deploy("f", answer(1), {"timeout_ms": 777})
        server.client.deploy("f", answer(2), {"timeout_ms": 888}, method="PUT")
        server.client.deploy("gone", answer(3))
        before = server.client.get("/functions/f").json()
        server.client.request("DELETE", "/functions/gone")
    with server:
        assert server.client.get("/functions/f").json() == before
        assert before["version"] == 2 and before["config"] == {"timeout_ms": 888}
        assert server.client.result("f", "answer") == 2
        assert server.client.get("/functions/gone").kind == "not_found"


def test_the_artifact_cache_may_be_removed(server):
    with server:
        server.client.deploy("f", answer(5))
    subprocess.run(["rm", "-rf", server.data / "artifacts"], check=True)
    with server:
        assert server.client.result("f", "answer") == 5
        assert compilations(server.client) == 1


def test_a_damaged_artifact_is_not_run(server):
    with server:
        server.client.deploy("f", answer(5))
    files = [p for p in (server.data / "artifacts").rglob("*") if p.is_file() and p.stat().st_size > 4096]
    assert files
    for path in files:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.chmod(0o600)
        path.write_bytes(data)
    with server:
        assert server.client.result("f", "answer") == 5
        assert compilations(server.client) == 1


def image_of(data, name):
    """Where the image lies that the function's record names."""
    for record in (data / "records" / "function").iterdir():
        found = re.search(rb'"image":"([0-9a-f]{64})"', record.read_bytes()) if f'"{name}"'.encode() in record.read_bytes() else None
        if found:
            digest = found.group(1).decode()
            return data / "blobs" / digest[:2] / digest
    raise AssertionError(name)


def test_an_image_that_is_lost_or_damaged_is_made_again(server):
    """What a machine that fails in the midst of a deploy may leave, and a disk that forgets."""
    seeded = wat('''(module (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32))) (memory (export "memory") 1)
        (func $begin (drop (call $random (i32.const 0) (i32.const 8)))) (start $begin)
        (func (export "seed") (result i64) (i64.load (i32.const 0))))''')
    with server:
        for name, wasm in (("plain", answer(5)), ("seeded", seeded)):
            assert server.client.deploy(name, wasm).status == 201
        before = server.client.get("/functions/seeded").json()
        seed = server.client.result("seeded", "seed")
        assert server.client.result("seeded", "seed") == seed
    plain, damaged = image_of(server.data, "plain"), image_of(server.data, "seeded")
    whole = plain.read_bytes()
    plain.unlink()
    data = bytearray(damaged.read_bytes())
    data[4096] ^= 0xFF
    damaged.chmod(0o600)
    damaged.write_bytes(data)
    with server:
        told = "image was missing or damaged and was made again"
        assert server.client.result("plain", "answer") == 5
        assert plain.read_bytes() == whole
        again = server.client.result("seeded", "seed")  # start code ran once more, and never again
        assert again != seed and server.client.result("seeded", "seed") == again
        assert image_of(server.data, "seeded") != damaged and server.client.get("/functions/seeded").json() == before
        eventually(lambda: server.log.count(told) == 2, 20, "the warnings")
    with server:
        assert server.client.result("seeded", "seed") == again and server.client.result("plain", "answer") == 5
        assert server.client.deploy("seeded", answer(6), method="PUT").status == 200
        assert server.client.result("seeded", "answer") == 6
        assert server.client.get("/functions/seeded").json()["version"] == 2


def deploy_until_it_dies(client, worker, first, sent, acknowledged):
    """One worker's deploys, one after the other, each with another answer; what was sent and what was acknowledged, by name."""
    for number in itertools.count(first):
        name = f"w{worker}-{number % 5}"
        sent[name] = number
        try:
            reply = client.deploy(name, answer_bytes(number), method="PUT")
        except (OSError, http.client.HTTPException):
            return
        assert reply.status in (200, 201), reply
        acknowledged[name] = number


def test_kill_9_loses_nothing_that_was_acknowledged(server):
    source, first = random.Random(42), 0
    sent, acknowledged = {}, {}
    for _ in range(8):
        server.start()
        before = dict(acknowledged)
        threads = [threading.Thread(target=deploy_until_it_dies, args=(server.client, worker, first, sent, acknowledged)) for worker in range(3)]
        for thread in threads:
            thread.start()
        eventually(lambda: sum(before.get(name) != number for name, number in acknowledged.items()) >= 4, what="four acknowledged deploys")
        time.sleep(source.uniform(0, 0.05))  # somewhere within a deploy
        server.kill()
        for thread in threads:
            thread.join()
        server.start()
        for name, number in acknowledged.items():
            told = server.client.result(name, "answer")
            assert told in (number, sent[name]), (name, told, number, sent[name])  # the last one may have become durable just before its answer
            acknowledged[name] = told
        server.stop()
        first = max(sent.values()) + 1
    assert len(acknowledged) == 15


def test_sigterm_lets_running_calls_end(server):
    wasm = wat('''(module (import "wasi:scheduler/host@0.1.0" "deadline-remaining-ms" (func $left (result i32))) (memory (export "memory") 1)
        (func (export "work") (result i32) (local $until i32)
          (local.set $until (i32.sub (call $left) (i32.const 600)))
          (loop $l (br_if $l (i32.gt_s (call $left) (local.get $until)))) (i32.const 1)))''')
    with server:
        client = server.client
        client.deploy("f", wasm)
        told = []
        thread = threading.Thread(target=lambda: told.append(client.call("f", "work")))
        thread.start()
        eventually(lambda: told or client.metric("tensor_wasm_http_requests_in_flight") >= 2, what="the call")
        server.process.send_signal(signal.SIGTERM)
        thread.join(60 * SLOW)
        assert told and told[0].status == 200 and told[0].json()["result"] == 1
        assert server.process.wait(60 * SLOW) == 0


def test_a_server_without_a_data_folder_keeps_nothing(tmp_path):
    own = Server(tmp_path)
    own.data = ":memory:"
    for _ in range(2):
        with own:
            assert own.client.get("/functions").json()["functions"] == []
            assert own.client.deploy("f", answer(3)).status == 201
            assert own.client.result("f", "answer") == 3


# ---- disks ----

@pytest.fixture
def small_disk(tmp_path):
    """A folder with 6 MiB of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", path], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def settle(own):
    """Waits for what a deploy leaves to do after its answer: it holds files open, and makes room."""
    eventually(lambda: list(own.data.glob("artifacts/*/*.sig")) and not list(own.data.glob("records/*/*.ahead")), what="it being settled")


def test_a_full_disk_fails_deploys_and_nothing_else(small_disk):
    with Server(small_disk.parent) as own:
        pass
    own = Server(small_disk.parent)
    own.data = small_disk / "data"
    with own:
        client = own.client
        assert client.deploy("before", answer(7)).status == 201
        settle(own)
        filler = small_disk / "filler"
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as f:
            while True:
                f.write(bytes(4096))
        reply = client.deploy("during", answer(8))
        assert reply.status == 503 and reply.kind == "store_unavailable" and "retry-after" in reply.headers, reply
        assert client.get("/functions/during").kind == "not_found"
        assert client.result("before", "answer") == 7
        assert client.get("/healthz").status == 200
        eventually(lambda: client.get("/readyz").status == 503, what="/readyz to notice")
        assert client.metric("tensor_wasm_store_errors_total") > 0
        filler.unlink()
        assert client.deploy("during", answer(8)).status == 201
        assert client.result("during", "answer") == 8
        eventually(lambda: client.get("/readyz").status == 200, what="/readyz to recover")
    with own:
        assert own.client.result("during", "answer") == 8


def test_a_start_on_a_full_disk_says_so(small_disk, tmp_path):
    own = Server(tmp_path)
    own.data = small_disk / "data"
    with contextlib.suppress(OSError), open(small_disk / "filler", "wb", buffering=0) as f:
        while True:
            f.write(bytes(4096))
    own.spawn()
    eventually(lambda: own.has_ended or own.port)
    if own.has_ended:
        assert own.process.returncode == 1 and "store_unavailable" in own.log, own.log
        own.process = None
    else:
        own.kill()


def test_a_disk_that_turns_read_only(small_disk, tmp_path):
    own = Server(tmp_path)
    own.data = small_disk / "data"
    with own:
        client = own.client
        assert client.deploy("before", answer(7)).status == 201
        settle(own)
        remount = ["mount", "-o", "remount,ro", small_disk]  # refused while a file is open for writing
        eventually(lambda: subprocess.run(remount, capture_output=True).returncode == 0, what="the file system being read-only")
        reply = client.deploy("during", answer(8))
        assert reply.status == 503 and reply.kind == "store_unavailable", reply
        assert client.request("DELETE", "/functions/before").kind == "store_unavailable"
        assert client.result("before", "answer") == 7
        eventually(lambda: client.get("/readyz").status == 503, what="/readyz to notice")
        subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
        assert client.deploy("during", answer(8)).status == 201


def test_functions_are_served_from_a_read_only_disk_after_a_start_or_the_start_says_why(small_disk, tmp_path):
    own = Server(tmp_path)
    own.data = small_disk / "data"
    with own:
        own.client.deploy("f", answer(7))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    own.spawn()
    eventually(lambda: own.has_ended or own.port)
    if own.has_ended:
        assert own.process.returncode == 1 and "store_unavailable" in own.log, own.log
        own.process = None
    else:
        own.kill()


def test_two_servers_do_not_share_memory_of_a_data_folder_wrongly(server, tmp_path):
    """A second server over the same folder either serves the same functions or refuses to start; it never spoils the first."""
    with server:
        server.client.deploy("f", answer(7))
        other = Server(tmp_path / "other")
        other.data = server.data
        other.spawn()
        eventually(lambda: other.has_ended or other.port)
        if not other.has_ended:
            other.process.send_signal(signal.SIGTERM)
            assert other.process.wait(20 * SLOW) == 0
        assert server.client.result("f", "answer") == 7


# ---- the compiler ----

def deploy_in_background(client, name, wasm):
    told = []
    thread = threading.Thread(target=lambda: told.append(client.deploy(name, wasm)))
    thread.start()
    return thread, told


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGABRT, signal.SIGSTOP], ids=["killed", "crashed", "hung"])
def test_a_compiler_that_dies_or_hangs_costs_one_deploy(server, how):
    with server:
        client = server.client
        assert client.deploy("before", answer(1)).status == 201
        thread, told = deploy_in_background(client, "during", big_module(1500, seed=3))
        eventually(lambda: server.compilers_at_work() or told, what="a compiler at work")
        victims = server.compilers()
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, how)
        if how == signal.SIGSTOP:
            assert client.result("before", "answer") == 1  # calls do not wait for compilers
            assert client.get("/healthz").status == 200
            for pid in victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        thread.join(60 * SLOW)
        assert told, "the deploy was never answered"
        assert told[0].status == 201 or told[0].kind == "compile_failed", told
        assert client.result("before", "answer") == 1
        after = client.deploy("after", answer(2))
        assert after.status == 201, after
        assert client.result("after", "answer") == 2
        assert client.deploy("during", big_module(20, seed=4), method="PUT").status in (200, 201)


def test_no_compiler_outlives_its_server(server):
    server.start()
    server.client.deploy("f", answer(1))
    eventually(lambda: server.compilers())
    compilers = server.compilers()
    server.kill()

    def gone():
        return not any(os.path.exists(f"/proc/{pid}/exe") and "tensor-wasm-compiler" in os.readlink(f"/proc/{pid}/exe")
                       for pid in compilers if os.path.exists(f"/proc/{pid}"))
    eventually(lambda: _quiet(gone), what="the compilers' end")
    server.process = None


def _quiet(condition):
    with contextlib.suppress(OSError):
        return condition()
    return True


# ---- what nothing names any more ----

def blobs(folder):
    return {path.name for path in (folder / "blobs").glob("*/*")}


def test_what_nothing_names_any_more_is_removed_and_nothing_else(tmp_path):
    data = tmp_path / "data"
    kept, gone = wat('(module (func (export "f") (result i32) (i32.const 1)))'), wat('(module (func (export "f") (result i32) (i32.const 2)))')
    with Server(tmp_path, ["--data-dir", str(data), "--blob-grace-s", "3"]) as server:
        client = server.client
        client.deploy("kept", kept)
        first = blobs(data)
        client.deploy("gone", gone)
        instance = client.post_json("/instances", {"function": "gone"}).json()["id"]
        assert client.request("DELETE", "/functions/gone").status == 204
        # Its image is nobody's now; the module is wanted by the instance that still lives.
        module = hashlib.sha256(gone).hexdigest()
        eventually(lambda: blobs(data) == first | {module}, what="the image's end")
        taken = client.request("POST", f"/instances/{instance}/snapshot", b"").json()["digest"]
        assert client.request("DELETE", f"/instances/{instance}").status == 204
        removed = "tensor_wasm_store_blobs_removed_total "
        assert any(line.startswith(removed) and float(line.removeprefix(removed)) >= 1 for line in client.get("/metrics").body.decode().splitlines())
    with Server(tmp_path, ["--data-dir", str(data), "--blob-grace-s", "3"]) as server:
        client = server.client
        assert client.result("kept", "f", []) == 1
        assert client.post_json("/instances/restore", {"digest": taken, "as_instance": "i"}).status == 201
        assert client.post_json("/instances/i/invoke", {"export": "f", "args": []}).json()["result"] == 2
        assert blobs(data) == first | {module, taken}
        assert client.request("DELETE", f"/snapshots/{taken}").status == 204 and client.request("DELETE", "/instances/i").status == 204
        eventually(lambda: blobs(data) == first, what="the snapshot's end")
        assert client.result("kept", "f", []) == 1


def test_nothing_is_removed_while_a_record_cannot_be_read(tmp_path):
    data = tmp_path / "data"
    with Server(tmp_path, ["--data-dir", str(data), "--blob-grace-s", "3"]) as server:
        for n in range(3):
            server.client.deploy(f"f{n}", wat(f'(module (func (export "f") (result i32) (i32.const {n})))'))
        before = blobs(data)
        (data / "records/function" / ("ab" * 32)).write_bytes(b"no record")
        assert server.client.request("DELETE", "/functions/f0").status == 204
        eventually(lambda: "blobs that nothing names stay for now" in server.log, what="the warning")
        assert blobs(data) == before
        (data / "records/function" / ("ab" * 32)).unlink()
        eventually(lambda: len(blobs(data)) < len(before), what="the blobs' end")
        assert [server.client.result(f"f{n}", "f", []) for n in (1, 2)] == [1, 2]


# ---- deploys that a crash finds under way ----

def record_of(data, name):
    """The path of a function's record, wherever it lies."""
    found = [path for path in (data / "records" / "function").iterdir() if f'"name":"{name}"'.encode() in path.read_bytes()]
    assert len(found) == 1, found
    return found[0]


def fail_the_machine(data, name, boot=None):
    """What a machine leaves that failed before it had brought the record's name to the disk; `boot` says in which of its runs that was."""
    path = record_of(data, name)
    if boot:
        written = path.read_bytes()
        head, body = bytearray(written[:28]), re.sub(rb'"ahead":"[0-9a-f-]{36}"', b'"ahead":"%s"' % boot.encode(), written[28:])
        assert body != written[28:] and len(body) == len(written) - 28
        head[24:28] = zlib.crc32(body).to_bytes(4, "little")
        path.write_bytes(bytes(head) + body)
    path.rename(path.with_name(path.name.removesuffix(".ahead") + ".ahead"))


def pack(record, blobs):
    """The file of a record ahead, as src/store/pack.c describes it."""
    head = b"TWA1" + len(blobs).to_bytes(4, "little") + len(record).to_bytes(8, "little")
    head += b"".join(len(blob).to_bytes(8, "little") + hashlib.sha256(blob).digest() for blob in blobs)
    return head + zlib.crc32(head).to_bytes(4, "little") + record + b"".join(blobs)


def test_a_deploy_whose_own_files_the_machine_lost_is_restored_from_the_one_that_it_waited_for(server):
    """The answer was given, the names got to the disk, the bytes did not."""
    with server:
        assert server.client.deploy("f", answer(1)).status == 201
        assert server.client.deploy("f", answer(2), method="PUT").status == 200
        before = server.client.get("/functions/f").json()
    record, digests = record_of(server.data, "f"), (before["digest"], image_of(server.data, "f").name)
    places = [server.data / "blobs" / digest[:2] / digest for digest in digests]
    whole = [path.read_bytes() for path in places]
    record.with_name(record.name + ".ahead").write_bytes(pack(record.read_bytes(), whole))
    record.write_bytes(b"")
    for path in places:
        path.chmod(0o644)  # as long as it is not on the disk
        path.write_bytes(bytes(path.stat().st_size))
    with server:
        assert server.client.get("/functions/f").json() == before and server.client.result("f", "answer") == 2
        assert [path.read_bytes() for path in places] == whole and not list(record.parent.glob("*.ahead"))


def test_a_kill_right_after_an_answer_loses_nothing(server):
    for number in range(3):
        server.start()
        assert server.client.deploy("f", answer(number), method="PUT").status in (200, 201)
        server.kill()
    with server:
        assert server.client.result("f", "answer") == 2 and server.client.get("/functions/f").json()["version"] == 3
        assert not list((server.data / "records" / "function").glob("*.ahead"))


BEFORE = "00000000-0000-4000-8000-000000000000"  # a run of the machine that is over


def test_a_deploy_that_was_acknowledged_is_there_after_the_machine_failed(server):
    with server:
        client = server.client
        assert client.deploy("new", answer(1)).status == 201
        assert client.deploy("newer", answer(2), {"timeout_ms": 777}).status == 201
        before = {name: client.get(f"/functions/{name}").json() for name in ("new", "newer")}
    for name in before:
        fail_the_machine(server.data, name, BEFORE)
    subprocess.run(["rm", "-rf", server.data / "artifacts"], check=True)
    image_of(server.data, "new").unlink()
    for _ in range(2):
        with server:
            client = server.client
            assert {name: client.get(f"/functions/{name}").json() for name in before} == before
            assert client.result("new", "answer") == 1 and client.result("newer", "answer") == 2
            assert not list((server.data / "records" / "function").glob("*.ahead"))
    with server:
        assert server.client.deploy("newer", answer(3), method="PUT").json()["version"] == 2
        assert server.client.request("DELETE", "/functions/new").status == 204
    with server:
        assert server.client.result("newer", "answer") == 3 and server.client.get("/functions/new").status == 404


def test_a_deploy_that_would_have_failed_is_discarded_after_the_machine_failed(server):
    """The record lies ahead, the module is good for the parser and no good for the compiler, or not there."""
    with server:
        client = server.client
        for name in ("kept", "lost"):
            assert client.deploy(name, answer(1)).status == 201
        assert client.deploy("bad", answer(2)).status == 201
        digest = client.get("/functions/bad").json()["digest"], client.get("/functions/lost").json()["digest"]
        assert client.deploy("kept", answer(3), method="PUT").status == 200
    for name in ("kept", "bad", "lost"):
        fail_the_machine(server.data, name, BEFORE)  # of "kept" version 1 is gone, which version 2 follows
    record = record_of(server.data, "bad")
    broken = example_that_does_not_validate()
    name = hashlib.sha256(broken).hexdigest()
    (server.data / "blobs" / name[:2]).mkdir(exist_ok=True)
    (server.data / "blobs" / name[:2] / name).write_bytes(broken)
    body = record.read_bytes()[28:].replace(digest[0].encode(), name.encode())
    record.write_bytes(record.read_bytes()[:24] + zlib.crc32(body).to_bytes(4, "little") + body)
    (server.data / "blobs" / digest[1][:2] / digest[1]).unlink()
    with server:
        assert server.client.get("/functions").json()["functions"] == []
        eventually(lambda: server.log.count("a deploy that a crash found under way was discarded") == 2, what="the warnings")
        assert server.client.deploy("bad", broken).kind == "invalid_wasm"
        assert server.client.deploy("kept", answer(4)).json()["version"] == 1
    with server:
        assert [f["name"] for f in server.client.get("/functions").json()["functions"]] == ["kept"]


def example_that_does_not_validate():
    """A function that promises an i32 and leaves nothing: only the compiler looks at that."""
    return b"\0asm\1\0\0\0" + section(1, b"\1\x60\0\1\x7f") + section(3, b"\1\0") + section(7, b"\1\1f\0\0") + section(10, b"\1\2\0\x0b")


def test_a_deploy_that_a_kill_broke_off_is_not_tried_again(server):
    with server:
        assert server.client.deploy("f", answer(1)).status == 201
    fail_the_machine(server.data, "f")  # of this run of the machine: its server was killed before it could answer
    with server:
        assert server.client.get("/functions/f").status == 404 and compilations(server.client) == 0
        eventually(lambda: "was discarded" in server.log, what="the warning")
        assert server.client.deploy("f", answer(2)).status == 201
    with server:
        assert server.client.result("f", "answer") == 2


def test_a_deploy_that_is_refused_leaves_nothing_ahead_and_the_version_before_it(server):
    with server:
        client = server.client
        assert client.deploy("f", answer(1)).status == 201
        assert client.deploy("f", example_that_does_not_validate(), method="PUT").kind == "invalid_wasm"
        assert client.deploy("g", example_that_does_not_validate()).kind == "invalid_wasm"
        assert not list((server.data / "records" / "function").glob("*.ahead"))
        assert client.result("f", "answer") == 1 and client.get("/functions/g").status == 404
        assert client.get("/tenants/0").json()["use"]["functions"]["now"] == 1
    with server:
        assert server.client.result("f", "answer") == 1 and len(server.client.get("/functions").json()["functions"]) == 1
