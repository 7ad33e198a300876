# SPDX-License-Identifier: Apache-2.0
"""Instances that keep their state between calls: what lives on, what does not, whose they are, and what ends them."""
import concurrent.futures
import json
import subprocess

import pytest

from twtest.build import guest, wat
from twtest.client import Client
from twtest.paths import PROGRAM, SLOW
from twtest.server import clean_environment, eventually

COUNTER = wat('''(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi:tensor/host@0.1.0" "read-input" (func $read (param i32 i32) (result i32)))
  (import "wasi:tensor/host@0.1.0" "emit-chunk" (func $emit (param i32 i32) (result i32)))
  (memory (export "memory") 1) (global $g (mut i32) (i32.const 0))
  (func (export "add") (param i32) (result i32)
    (global.set $g (i32.add (global.get $g) (local.get 0)))
    (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (local.get 0)))
    (i32.sub (i32.mul (i32.load (i32.const 64)) (i32.const 2)) (global.get $g)))
  (func (export "echo") (drop (call $emit (i32.const 1000) (call $read (i32.const 1000) (i32.const 1000)))))
  (func (export "trap") unreachable)
  (func (export "leave") (call $exit (i32.const 0)))
  (func (export "spin") (loop br 0)))''')


def make(client, name, **more):
    reply = client.post_json("/instances", {"function": name, **more})
    assert reply.status == 201, reply
    return reply.json()


def call(client, instance, export, *args, **more):
    return client.post_json(f"/instances/{instance}/invoke", {"export": export, "args": list(args)}, **more)


def test_state_lives_on_in_one_instance_and_nowhere_else(client, name):
    function = client.deploy(name, COUNTER).json()
    one, two = make(client, name), make(client, function["id"])
    assert one["function"] == name and one["function_id"] == function["id"] and one["state"] == "idle" and one["calls"] == 0
    replies = [call(client, one["id"], "add", n).json() for n in (1, 2, 3)]
    assert [r["result"] for r in replies] == [1, 3, 6]
    assert replies[0]["instance_id"] == one["id"] and replies[0]["function_id"] == function["id"]
    assert call(client, two["id"], "add", 10).json()["result"] == 10
    assert client.result(name, "add", [5]) == 5
    told = client.get(f"/instances/{one['id']}").json()
    assert told["calls"] == 3 and told["memory_bytes"] == 65536 and told["used_at"] >= told["created_at"]


def test_input_and_output_are_a_calls_own(client, name):
    client.deploy(name, COUNTER)
    path = f"/instances/{make(client, name)['id']}/invoke?export=echo"
    for text in (b"first call", b"second", b""):
        reply = client.request("POST", path, text, {"Content-Type": "text/plain"})
        assert reply.status == 200 and reply.body == text


@pytest.mark.parametrize("export, status, kind, reason", [
    ("trap", 502, "guest_trap", "unreachable"), ("leave", 200, None, "proc_exit"), ("spin", 504, "invoke_timeout", "deadline")])
def test_what_cannot_be_trusted_any_more_ends(client, name, export, status, kind, reason):
    client.deploy(name, COUNTER)
    instance = make(client, name)["id"]
    assert call(client, instance, "add", 4).json()["result"] == 4
    reply = call(client, instance, export, headers={"X-TensorWasm-Deadline-Ms": "300"} if export == "spin" else ())
    assert reply.status == status and reply.kind == kind
    refused = call(client, instance, "add", 4)
    assert refused.status == 409 and refused.kind == "conflict" and reason in refused.message
    told = client.get(f"/instances/{instance}").json()
    assert told["state"] == "ended" and reason in told["reason"] and told["memory_bytes"] == 0


def test_a_call_that_is_refused_does_no_harm(client, name):
    client.deploy(name, COUNTER)
    instance = make(client, name)["id"]
    assert call(client, instance, "add").kind == "invalid_args"
    assert call(client, instance, "nothing").kind == "missing_export"
    assert client.request("POST", f"/instances/{instance}/invoke", "{", {"Content-Type": "application/json"}).kind == "invalid_json"
    assert call(client, instance, "add", 4).json()["result"] == 4


def test_calls_at_the_same_time_take_turns(client, name):
    client.deploy(name, COUNTER)
    instance = make(client, name)["id"]
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda _: call(client, instance, "add", 1).json()["result"], range(40)))
    assert sorted(results) == list(range(1, 41))


def test_others_see_nothing_and_deleting_ends_it(client, name):
    one, two = Client(client.port, tenant=31), Client(client.port, tenant=32)
    one.deploy(name, COUNTER)
    instance = make(one, name)["id"]
    for reply in (two.get(f"/instances/{instance}"), call(two, instance, "add", 1), two.request("DELETE", f"/instances/{instance}")):
        assert reply.status == 404 and reply.kind == "not_found"
    assert instance not in [i["id"] for i in two.get("/instances").json()["instances"]]
    assert one.request("DELETE", f"/instances/{instance}").status == 204
    assert call(one, instance, "add", 1).kind == "not_found"
    assert one.request("DELETE", f"/instances/{instance}").kind == "not_found"


def test_deleting_stops_a_running_call(client, name):
    client.deploy(name, COUNTER)
    instance = make(client, name)["id"]
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        running = threads.submit(call, client, instance, "spin")
        eventually(lambda: client.get(f"/instances/{instance}").json()["state"] == "running", what="the call")
        assert client.request("DELETE", f"/instances/{instance}").status == 204
        assert running.result().kind == "cancelled"


def test_lists_are_paged(client):
    tenant = Client(client.port, tenant=4712)
    tenant.deploy("f", COUNTER)
    made = [make(tenant, "f")["id"] for _ in range(5)]
    seen, cursor = [], ""
    while cursor is not None:
        page = tenant.get(f"/instances?limit=2&cursor={cursor}").json()
        seen += [i["id"] for i in page["instances"]]
        cursor = page["next"]
    assert seen == made


@pytest.mark.parametrize("body", [[], {}, {"function": 7}, {"function": "f", "idle_ms": 0}, {"function": "f", "colour": "red"}])
def test_requests_that_are_not_one_are_refused(client, body):
    reply = client.post_json("/instances", body)
    assert reply.status == 400 and reply.kind == "invalid_request"


def test_a_function_that_is_not_there_has_no_instances(client):
    assert client.post_json("/instances", {"function": "nobody"}).kind == "not_found"


def test_an_instance_goes_on_with_its_version(client, name):
    client.deploy(name, COUNTER)
    instance = make(client, name)
    assert call(client, instance["id"], "add", 2).json()["result"] == 2
    other = wat('(module (memory (export "memory") 1) (func (export "add") (param i32) (result i32) i32.const 1000))')
    assert client.deploy(name, other, method="PUT").status == 200
    assert call(client, instance["id"], "add", 2).json()["result"] == 4
    assert client.result(name, "add", [2]) == 1000
    assert client.request("DELETE", f"/functions/{name}").status == 204
    assert call(client, instance["id"], "add", 2).json()["result"] == 6
    assert client.get(f"/instances/{instance['id']}").json()["version"] == instance["version"] == 1


def test_idle_instances_end_by_themselves(client, name):
    client.deploy(name, COUNTER)
    instance = make(client, name, idle_ms=1)["id"]
    told = eventually(lambda: (t := client.get(f"/instances/{instance}").json())["state"] == "ended" and t, what="the end")
    assert "nobody called it" in told["reason"]


def test_they_count_as_instances_and_are_gone_after_a_restart(server):
    server.options += ["--max-instances", "2"]
    server.start()
    server.client.deploy("f", COUNTER)
    made = [make(server.client, "f")["id"] for _ in range(2)]
    refused = server.client.post_json("/instances", {"function": "f"})
    assert refused.status == 503 and refused.kind == "capacity_exhausted"
    assert server.client.metric("tensor_wasm_kept_instances") == 2 == server.client.metric("tensor_wasm_active_instances")
    server.client.request("DELETE", f"/instances/{made[0]}")
    assert server.client.result("f", "add", [1]) == 1
    audit = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    assert {(e["action"], e["outcome"]) for e in audit if "instances" in e["action"]} == {
        ("POST /instances", "ok"), ("POST /instances", "capacity_exhausted"), ("DELETE /instances/:id", "ok")}
    server.stop()
    server.start()
    assert server.client.get(f"/instances/{made[1]}").kind == "not_found"


def test_kernels_buffers_and_streams_live_on(client, name):
    client.deploy(name, guest("kept.c"))
    one, two = make(client, name)["id"], make(client, name)["id"]
    for instance in (one, two):
        assert call(client, instance, "open").json()["result"] == 0
    assert [call(client, one, "add", n).json()["result"] for n in (5, 6)] == [5, 11]
    assert call(client, two, "add", 1).json()["result"] == 1
    assert client.result(name, "add", [1]) < 0  # a fresh instance has none of it
    assert call(client, one, "add", 1).json()["result"] == 12


@pytest.fixture
def cli(shared):
    def run(*args, status=0, data=b""):
        done = subprocess.run([str(PROGRAM), *args], input=data, capture_output=True, timeout=60 * SLOW,
                              env=clean_environment({"TENSOR_WASM_SERVER": f"http://127.0.0.1:{shared.port}"}))
        assert done.returncode == status, (args, done)
        return done.stdout.decode(), done.stderr.decode()
    return run


def test_the_command_line_makes_calls_lists_and_ends_them(client, cli, name):
    Client(client.port, tenant=4713).deploy(name, COUNTER)
    tenant = ["--tenant", "4713"]
    created, _ = cli("instances", "create", name, "--idle-ms", "500000", *tenant)
    instance = created.split()[0]
    assert instance.startswith("in-") and created.split()[1] == "idle"
    assert cli("instances", "invoke", instance, "--export", "add", "--args", "[20]", *tenant)[0] == "20\n"
    assert cli("instances", "invoke", instance, "--export", "add", "--args", "[22]", *tenant)[0] == "42\n"
    assert cli("instances", "invoke", instance, "--export", "echo", "--input", "-", *tenant, data=b"text")[0] == "text"
    assert json.loads(cli("instances", "get", instance, "--output", "json", *tenant)[0])["calls"] == 3
    assert [i["id"] for i in json.loads(cli("instances", "list", "--output", "json", *tenant)[0])] == [instance]
    assert cli("admin", "instance", "list", *tenant)[0].startswith(instance)
    assert "--tenant" in cli("admin", "instance", "list", status=2)[1]
    assert "no instance" in cli("instances", "get", instance, status=1)[1]  # tenant 0 has none of that id
    cli("instances", "invoke", instance, "--export", "trap", *tenant, status=1)
    assert "unreachable" in cli("instances", "list", *tenant)[0]
    cli("admin", "instance", "terminate", instance, *tenant)
    cli("instances", "delete", instance, *tenant, status=1)
    assert cli("instances", "list", *tenant)[0] == ""
    assert cli("functions", "prewarm", name, "2", *tenant)[0] == "2\n"
