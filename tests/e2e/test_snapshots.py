# SPDX-License-Identifier: Apache-2.0
"""Snapshots: what goes on from one and what does not, whose they are, what a file is checked for, downloads in parts."""
import base64
import concurrent.futures
import hashlib
import json
import struct
import subprocess
import zlib

import pytest

from twtest.build import wat
from twtest.client import Client
from twtest.paths import PROGRAM, SLOW
from twtest.server import Server, clean_environment

# Its answer comes from a global, from memory it wrote and from memory it grew into.
COUNTER = wat('''(module
  (memory (export "memory") 1) (global $g (mut i64) (i64.const 0)) (data (i32.const 8) "seed")
  (func (export "add") (param i32) (result i32)
    (global.set $g (i64.add (global.get $g) (i64.extend_i32_s (local.get 0))))
    (if (i32.lt_u (memory.size) (i32.const 4)) (then (drop (memory.grow (i32.const 3)))))
    (i32.store (i32.const 200000) (i32.add (i32.load (i32.const 200000)) (local.get 0)))
    (i32.sub (i32.mul (i32.load (i32.const 200000)) (i32.const 2)) (i32.wrap_i64 (global.get $g))))
  (func (export "seed") (result i32) (i32.load (i32.const 8)))
  (func (export "spin") (loop br 0)))''')
TABLES = wat('''(module (table 2 funcref) (func $f) (elem declare func $f)
  (func (export "set") (table.set 0 (i32.const 0) (ref.func $f))))''')
PAGE = 4096
KEY = "00112233445566778899aabbccddeeff" * 2


def make(client, name, *adds):
    reply = client.post_json("/instances", {"function": name})
    assert reply.status == 201, reply
    for n in adds:
        assert add(client, reply.json()["id"], n).status == 200
    return reply.json()["id"]


def add(client, instance, n):
    return client.post_json(f"/instances/{instance}/invoke", {"export": "add", "args": [n]})


def save(client, instance):
    reply = client.request("POST", f"/instances/{instance}/snapshot", b"")
    assert reply.status == 201, reply
    return reply.json()


def restore(client, digest, **more):
    return client.post_json("/instances/restore", {"digest": digest, **more})


def gone(client, path):
    return client.request("DELETE", path)


def upload(client, file, **query):
    text = "&".join(f"{key}={value}" for key, value in query.items())
    return client.request("POST", f"/snapshot/restore?{text}", file, {"Content-Type": "application/octet-stream"})


def download(client, digest, **headers):
    return client.request("GET", f"/snapshots/{digest}", headers={key.replace("_", "-"): value for key, value in headers.items()})


# ---- going on ----

def test_an_instance_goes_on_from_where_it_was_captured(client, name):
    client.deploy(name, COUNTER)
    one = make(client, name, 1, 2)
    taken = save(client, one)
    assert taken["instance_id"] == one and taken["function"] == name and taken["version"] == 1 and not taken["signed"]
    assert add(client, one, 10).json()["result"] == 13
    two, three = (restore(client, taken["digest"]).json() for _ in range(2))
    assert two["id"] != three["id"] and two["memory_bytes"] == 4 * 65536 and two["calls"] == 0
    assert add(client, two["id"], 10).json()["result"] == 13 and add(client, two["id"], 100).json()["result"] == 113
    assert add(client, three["id"], 5).json()["result"] == 8
    assert client.result(name, "add", [7]) == 7  # fresh instances know nothing of it
    # What went on can be captured again, and a function that is gone or replaced does not matter.
    again = save(client, two["id"])
    assert client.deploy(name, wat('(module (func (export "add") (param i32) (result i32) (i32.const 0)))'), method="PUT").status == 200
    assert add(client, restore(client, again["digest"]).json()["id"], 1).json()["result"] == 114
    assert gone(client, f"/functions/{name}").status == 204
    last = restore(client, again["digest"], as_instance=f"i-{name}").json()
    assert last["id"] == f"i-{name}" and last["function"] == name and last["version"] == 1
    assert add(client, last["id"], 2).json()["result"] == 115


def test_a_function_as_its_instances_begin(client, name):
    client.deploy(name, COUNTER)
    taken = client.post_json("/snapshot/save", {"function_id": name}).json()
    assert taken["instance_id"] is None
    instance = restore(client, taken["digest"]).json()["id"]
    reply = client.post_json(f"/instances/{instance}/invoke", {"export": "seed", "args": []})
    assert reply.json()["result"] == int.from_bytes(b"seed", "little") and add(client, instance, 3).json()["result"] == 3


def test_a_chosen_id_is_free_again_when_its_instance_has_ended(client, name):
    client.deploy(name, COUNTER)
    digest, chosen = save(client, make(client, name, 4))["digest"], f"i.{name}"
    assert restore(client, digest, as_instance=chosen).status == 201
    again = restore(client, digest, as_instance=chosen)
    assert again.status == 409 and chosen in again.message
    assert gone(client, f"/instances/{chosen}").status == 204
    assert restore(client, digest, as_instance=chosen).status == 201 and add(client, chosen, 1).json()["result"] == 5
    for bad in ("", "a/b", "-x", "x" * 41, "restore"):
        reply = restore(client, digest, as_instance=bad)
        assert reply.status == (201 if bad == "" else 400), (bad, reply)


def test_a_running_call_is_waited_for_and_others_wait_behind(client, name):
    slow = wat('''(module (memory (export "memory") 1)
      (func (export "add") (param i32) (result i32) (local i32) (local.set 1 (i32.const 30000000))
        (loop (local.set 1 (i32.sub (local.get 1) (i32.const 1))) (br_if 0 (local.get 1)))
        (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (local.get 0))) (i32.load (i32.const 0))))''')
    client.deploy(name, slow)
    instance = make(client, name)
    with concurrent.futures.ThreadPoolExecutor(9) as pool:
        calls = [pool.submit(add, client, instance, 1) for _ in range(6)]
        taken = [pool.submit(save, client, instance) for _ in range(3)]
        assert sorted(c.result().json()["result"] for c in calls) == [1, 2, 3, 4, 5, 6]
        digests = [t.result()["digest"] for t in taken]
    # Each is the state between two calls: a whole number of them.
    for digest in digests:
        assert 1 <= add(client, restore(client, digest).json()["id"], 1).json()["result"] <= 7


def test_what_no_snapshot_can_hold_is_refused(client, name):
    client.deploy(name, TABLES)
    refused = client.request("POST", f"/instances/{make(client, name)}/snapshot", b"")
    assert refused.status == 409 and "tables" in refused.message
    client.deploy(name + "c", COUNTER)
    instance = make(client, name + "c")
    gone(client, f"/instances/{instance}")
    assert client.request("POST", f"/instances/{instance}/snapshot", b"").status == 404
    spinning = make(client, name + "c")
    assert client.post_json(f"/instances/{spinning}/invoke", {"export": "spin", "args": []},
                            headers={"X-TensorWasm-Deadline-Ms": "50"}).status == 504
    refused = client.request("POST", f"/instances/{spinning}/snapshot", b"")
    assert refused.status == 409 and "ended" in refused.message


def test_what_is_held_on_a_device_is_in_the_way_and_that_is_said(client, name):
    client.deploy(name, wat('''(module (import "wasi_cuda" "alloc" (func $alloc (param i32 i32) (result i64)))
      (import "wasi_cuda" "free" (func $free (param i32 i32) (result i32)))
      (memory (export "memory") 1) (global $handle (mut i64) (i64.const 0))
      (func (export "hold") (result i64) (global.set $handle (call $alloc (i32.const 64) (i32.const 0))) (global.get $handle))
      (func (export "let_go") (result i32)
        (call $free (i32.wrap_i64 (global.get $handle)) (i32.wrap_i64 (i64.shr_u (global.get $handle) (i64.const 32))))))'''))
    instance = make(client, name)

    def call(export):
        return client.post_json(f"/instances/{instance}/invoke", {"export": export, "args": []}).json()["result"]

    assert call("hold") > 0
    refused = client.request("POST", f"/instances/{instance}/snapshot", b"")
    assert refused.status == 409 and "1 buffers, kernels or streams on a device" in refused.message
    assert call("let_go") == 0 and save(client, instance)["instance_id"] == instance


# ---- whose they are ----

def test_another_tenants_are_not_there(shared, name):
    mine, other = Client(shared.port, tenant=71), Client(shared.port, tenant=72)
    mine.deploy(name, COUNTER)
    digest = save(mine, make(mine, name, 9))["digest"]
    for reply in (download(other, digest), restore(other, digest), gone(other, f"/snapshots/{digest}")):
        assert reply.status == 404 and reply.kind == "not_found"
    assert digest not in [s["digest"] for s in other.get("/snapshots").json()["snapshots"]]
    # The other one may bring the file itself; both then have it, and one deletes only its own.
    file = download(mine, digest).body
    assert upload(other, file, as_instance="same").status == 201 and restore(mine, digest, as_instance="same").status == 201
    assert add(other, "same", 1).json()["result"] == 10 and add(mine, "same", 2).json()["result"] == 11
    assert gone(other, f"/snapshots/{digest}").status == 204 and download(other, digest).status == 404
    assert download(mine, digest).body == file


def test_they_count_as_stored_bytes_and_survive_a_restart(tmp_path):
    with Server(tmp_path) as server:
        client = server.client
        client.deploy("c", COUNTER)
        before = stored(client)
        taken = save(client, make(client, "c", 20))
        assert stored(client) == before + taken["size_bytes"] == before + len(download(client, taken["digest"]).body)
        assert save(client, make(client, "c", 20))["digest"] != taken["digest"]
        assert client.request("PUT", "/tenants/0", json.dumps({"limits": {"stored_bytes": stored(client) + 10}}),
                              {"Content-Type": "application/json"}).status == 200
        full = client.request("POST", f"/instances/{make(client, 'c')}/snapshot", b"")
        assert full.status == 429 and "stored_bytes" in full.message
    with Server(tmp_path) as server:
        client = server.client
        listed = client.get("/snapshots").json()["snapshots"]
        assert len(listed) == 2 and listed[0] == taken and stored(client) == before + sum(s["size_bytes"] for s in listed)
        assert add(client, restore(client, taken["digest"]).json()["id"], 1).json()["result"] == 21
        page = client.get("/snapshots?limit=1").json()
        rest = client.get(f"/snapshots?limit=1&cursor={page['next']}").json()
        assert page["snapshots"] + rest["snapshots"] == listed and rest["next"] is None
        for snapshot in listed:
            assert gone(client, f"/snapshots/{snapshot['digest']}").status == 204
        assert stored(client) == before and client.get("/snapshots").json()["snapshots"] == []


def stored(client):
    return client.get("/tenants/0").json()["use"]["stored_bytes"]["now"]


# ---- files ----

@pytest.fixture(scope="module")
def file(shared):
    shared.client.deploy("snapshot-file", COUNTER)
    return download(shared.client, save(shared.client, make(shared.client, "snapshot-file", 30))["digest"]).body


def test_the_file_is_named_by_its_sha256_and_goes_on_elsewhere(file, tmp_path):
    with Server(tmp_path) as server:
        one = upload(server.client, file, as_instance="one")
        assert one.status == 201 and one.json()["function"] == "snapshot-file", one
        assert add(server.client, "one", 1).json()["result"] == 31
        text = server.client.post_json("/snapshot/restore", {"snapshot_b64": base64.b64encode(file).decode(), "as_instance": "two"})
        assert text.status == 201 and add(server.client, "two", 2).json()["result"] == 32
        assert [s["digest"] for s in server.client.get("/snapshots").json()["snapshots"]] == [hashlib.sha256(file).hexdigest()]


def damaged(file, at, value):
    return file[:at] + bytes([file[at] ^ value]) + file[at + 1:]


def test_a_damaged_file_is_refused_whatever_byte_it_is(client, file):
    image_at = struct.unpack_from("<Q", file, 24)[0]
    assert image_at % PAGE == 0
    places = [*range(0, 120, 7), 130, image_at, image_at + 40, image_at + PAGE + 8, len(file) - 1, len(file) // 2]
    for at in places:
        reply = upload(client, damaged(file, at, 1 << (at % 8)))
        assert reply.kind == "invalid_request" and ("damaged" in reply.message or "version" in reply.message), (at, reply)
    assert hashlib.sha256(damaged(file, image_at + 40, 1)).hexdigest() not in str(client.get("/snapshots").json())
    for cut in (b"", file[:100], file[:PAGE], file[:-1], file + b"\0"):
        assert upload(client, cut).kind == "invalid_request", len(cut)


def with_memory_of(file, pages):
    """The file with another size of its first memory, and checksums that are right."""
    at, forged = struct.unpack_from("<Q", file, 24)[0], bytearray(file)
    memories, global_values, tables = struct.unpack_from("<III", file, at + 40)
    struct.pack_into("<Q", forged, at + 88, pages * 65536)
    struct.pack_into("<I", forged, at + 16, 0)
    struct.pack_into("<I", forged, at + 16, zlib.crc32(forged[at:at + 88 + 24 * memories + 24 * global_values + 8 * tables]))
    return bytes(forged)


def test_a_forged_memory_has_to_fit_its_module(client, name):
    client.deploy(name, wat('''(module (memory (export "memory") 2 4) (func (export "pages") (result i32) (memory.size)))'''))
    whole = download(client, save(client, make(client, name))["digest"]).body
    for pages in (2, 3, 4):
        taken = upload(client, with_memory_of(whole, pages))
        assert taken.status == 201 and taken.json()["memory_bytes"] == pages * 65536, taken
    for pages in (0, 1, 5, 65536, 65537, (1 << 48) - 1):
        refused = upload(client, with_memory_of(whole, pages))
        assert refused.status in (400, 429) and refused.kind in ("invalid_request", "tenant_quota_exceeded"), refused


def test_parts_of_a_file(client, file):
    digest = hashlib.sha256(file).hexdigest()
    whole = download(client, digest)
    tag = whole.headers["etag"]
    assert whole.body == file and tag == f'"{digest}"' and whole.headers["accept-ranges"] == "bytes" and digest[:12] in whole.headers["content-disposition"]
    size = len(file)
    for text, first, last in (("0-0", 0, 0), ("5-99", 5, 99), (f"{size - 3}-", size - 3, size - 1), ("-7", size - 7, size - 1),
                              (f"10-{size * 2}", 10, size - 1), (f"-{size * 9}", 0, size - 1), (" 1 - 2 ", 1, 2)):
        part = download(client, digest, Range=f"bytes={text}")
        assert part.status == 206 and part.body == file[first:last + 1] and part.headers["content-range"] == f"bytes {first}-{last}/{size}", text
    for text in (f"{size}-", f"{size + 5}-{size + 9}", "-0"):
        reply = download(client, digest, Range=f"bytes={text}")
        assert reply.status == 416 and reply.kind == "range_not_satisfiable" and reply.headers["content-range"] == f"bytes */{size}", text
    for text in ("bytes=0-1,5-6", "lines=1-2", "bytes=9-3", "bytes=x-1", "bytes=", "bytes=-", "0-5"):
        assert download(client, digest, Range=text).body == file, text
    assert download(client, digest, Range="bytes=0-1", If_Range=tag).status == 206
    for status in (206, 416):  # counted as what they are
        assert client.metrics()[f'tensor_wasm_http_requests_total{{route="/snapshots/:digest",method="GET",status="{status}"}}'] > 0
    for stale in ('"other"', "W/" + tag, "Sat, 21 Nov 2026 00:00:00 GMT"):
        assert download(client, digest, Range="bytes=0-1", If_Range=stale).body == file
    assert download(client, digest, If_None_Match=tag, Range="bytes=0-1").status == 304
    head = client.request("HEAD", f"/snapshots/{digest}", headers={"Range": "bytes=0-1"})
    assert head.status == 200 and int(head.headers["content-length"]) == size and head.body == b""


def test_signatures(tmp_path, file):
    with Server(tmp_path / "a", ["--snapshot-hmac-key", KEY]) as server:
        server.client.deploy("c", COUNTER)
        taken = save(server.client, make(server.client, "c", 3))
        signed = download(server.client, taken["digest"]).body
        assert taken["signed"] and upload(server.client, file).status == 201  # unsigned ones are taken unless that is forbidden
        changed = upload(server.client, damaged(signed, len(signed) - 200, 1))
        assert changed.status in (400, 403)
    with Server(tmp_path / "b", ["--snapshot-hmac-key", KEY, "--snapshot-require-signature"]) as server:
        assert upload(server.client, signed, as_instance="x").status == 201 and add(server.client, "x", 1).json()["result"] == 4
        refused = upload(server.client, file)
        assert refused.status == 403 and refused.kind == "snapshot_signature_invalid" and "not signed" in refused.message
    with Server(tmp_path / "c", ["--snapshot-hmac-key", KEY[::-1]]) as server:
        refused = upload(server.client, signed)
        assert refused.status == 403 and "another key" in refused.message


@pytest.mark.parametrize("args, wanted", [
    (["--snapshot-hmac-key", "abc"], "64 lower-case hex digits"),
    (["--snapshot-require-signature"], "TENSOR_WASM_API_SNAPSHOT_HMAC_KEY")])
def test_settings_that_cannot_work_stop_the_start(tmp_path, args, wanted):
    done = subprocess.run([PROGRAM, "serve", "--addr", "127.0.0.1:0", "--data-dir", str(tmp_path), *args], capture_output=True, text=True,
                          env=clean_environment(), timeout=60 * SLOW)
    assert done.returncode != 0 and wanted in done.stderr


# ---- the wire ----

def test_the_route_of_restores_is_no_instance(client):
    for method in ("GET", "DELETE"):
        reply = client.request(method, "/instances/restore")
        assert reply.status == 405 and reply.headers["allow"] == "OPTIONS, POST"


@pytest.mark.parametrize("path, body, wanted", [
    ("/instances/restore", {}, "digest is missing"),
    ("/instances/restore", {"digest": "x", "snapshot_b64": "AA=="}, "'snapshot_b64' is not known"),
    ("/instances/restore", {"digest": 1}, "'digest'"),
    ("/instances/restore", {"digest": "a" * 64, "idle_ms": 0}, "'idle_ms'"),
    ("/snapshot/save", {}, "one of instance_id and function_id"),
    ("/snapshot/save", {"instance_id": "a", "function_id": "b"}, "one of instance_id and function_id"),
    ("/snapshot/restore", {"snapshot_b64": "A"}, "snapshot_b64"),
    ("/snapshot/restore", {"snapshot_b64": ""}, "shorter than its header"),
    ("/snapshot/restore", [], "has to be an object")])
def test_requests_that_say_nothing_are_told_so(client, path, body, wanted):
    reply = client.post_json(path, body)
    assert reply.status == 400 and wanted in reply.message


def test_roles(tmp_path):
    tokens = "invoke-invoke-invoke:tenant=*:role=invoke,deploy-deploy-deploy:tenant=*:role=deploy"
    with Server(tmp_path, ["--tokens", tokens], dev_mode=False) as server:
        deploy, invoke = Client(server.port, token="deploy-deploy-deploy"), Client(server.port, token="invoke-invoke-invoke")
        deploy.deploy("c", COUNTER)
        digest = save(invoke, make(invoke, "c", 1))["digest"]
        assert restore(invoke, digest).status == 201 and len(invoke.get("/snapshots").json()["snapshots"]) == 1
        file = download(deploy, digest).body
        for reply in (download(invoke, digest), upload(invoke, file), gone(invoke, f"/snapshots/{digest}")):
            assert reply.status == 403 and reply.kind == "role_denied"


def test_metrics_move(tmp_path):
    with Server(tmp_path) as server:
        server.client.deploy("c", COUNTER)
        restore(server.client, save(server.client, make(server.client, "c"))["digest"])
        text = server.client.get("/metrics").body.decode()
        for name in ("capture", "restore"):
            assert f"tensor_wasm_snapshot_{name}_seconds_count 1" in text


# ---- the command line ----

def test_the_command_line(shared, tmp_path, name):
    def run(*args, status=0, env=()):
        done = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=60 * SLOW,
                              env={**clean_environment(), "TENSOR_WASM_SERVER": f"http://127.0.0.1:{shared.port}", **dict(env)})
        assert done.returncode == status, done
        return done.stdout if status == 0 else done.stderr

    shared.client.deploy(name, COUNTER)
    instance, out = make(shared.client, name, 8), tmp_path / "one.tensor-wasm"
    assert instance in run("snapshot", "save", instance, "--out", out)
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    assert digest in run("snapshot", "list")
    run("snapshot", "get", digest, "--out", tmp_path / "two")
    assert (tmp_path / "two").read_bytes() == out.read_bytes()
    run("snapshot", "restore", "--input", out, "--as-instance", f"a-{name}")
    run("snapshot", "restore", digest, "--as-instance", f"b-{name}", "--idle-ms", "60000")
    assert [add(shared.client, f"{x}-{name}", 1).json()["result"] for x in "ab"] == [9, 9]
    shown = json.loads(run("snapshot", "inspect", out, "--output", "json"))
    assert shown["digest"] == digest and shown["description"]["function"]["name"] == name and not shown["signed"]
    assert name in run("snapshot", "inspect", out) and "whole; not signed" in run("snapshot", "verify", out)
    assert "not signed" in run("snapshot", "verify", out, status=1, env={"TENSOR_WASM_API_SNAPSHOT_HMAC_KEY": KEY}.items())
    out.write_bytes(damaged(out.read_bytes(), 50, 4))
    assert "damaged" in run("snapshot", "verify", out, status=1) and "damaged" in run("snapshot", "restore", "--input", out, status=1)
    assert "None" not in run("snapshot", "save", "--function", name)
    run("snapshot", "save", status=2)
    run("snapshot", "restore", status=2)
    run("snapshot", "delete", digest)
    assert digest not in run("snapshot", "list")
