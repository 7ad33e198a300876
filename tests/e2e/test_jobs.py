# SPDX-License-Identifier: Apache-2.0
"""Jobs: calls whose caller does not wait."""
import json
import subprocess

from twtest.build import wat
from twtest.client import Client
from twtest.paths import PROGRAM
from twtest.server import Server, eventually

ADD = wat('(module (memory (export "memory") 1) (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)'
          ' (func (export "trap") unreachable) (func (export "spin") (loop br 0)))')
ECHO = wat('''(module
  (import "wasi:tensor/host@0.1.0" "read-input" (func $read (param i32 i32) (result i32)))
  (import "wasi:tensor/host@0.1.0" "emit-chunk" (func $emit (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (drop (call $emit (i32.const 0) (call $read (i32.const 0) (i32.const 60000))))))''')
ENDED = ("done", "failed", "cancelled")


def start(client, name, body, **more):
    reply = client.post_json(f"/functions/{name}/invoke-async", body, **more)
    assert reply.status == 202, reply
    return reply.json()["job_id"]


def end_of(client, job):
    def ended():
        told = client.get(f"/jobs/{job}").json()
        return told if told["state"] in ENDED else None

    return eventually(ended, what="the job's end")


def test_a_job_ends_with_the_result_of_its_call(client, name):
    client.deploy(name, ADD)
    told = end_of(client, start(client, name, {"export": "add", "args": [20, 22]}))
    assert told["state"] == "done" and told["result"] == 42 and told["function"] == name
    assert told["created_at"] <= told["started_at"] <= told["ended_at"]


def test_a_job_keeps_what_went_to_standard_error(client, name):
    client.deploy(name, wat('''(module (import "wasi:tensor/host@0.1.0" "log" (func $log (param i32 i32 i32)))
        (memory (export "memory") 1) (data (i32.const 0) "moved")
        (func (export "_start") (call $log (i32.const 3) (i32.const 0) (i32.const 5))))'''))
    for body, kind in ((b"{}", "application/json"), (b"x", "text/plain")):
        reply = client.request("POST", f"/functions/{name}/invoke-async", body=body, headers={"Content-Type": kind})
        told = end_of(client, reply.json()["job_id"])
        assert told["state"] == "done" and told["stderr"] == "warn: moved\n"


def test_results_count_as_stored_bytes_until_the_job_is_forgotten(tmp_path):
    with Server(tmp_path) as server:
        client = server.client
        client.deploy("echo", ECHO)

        def stored():
            return client.get("/tenants/0").json()["use"]["stored_bytes"]["now"]

        def echo(size):
            reply = client.request("POST", "/functions/echo/invoke-async", body=b"x" * size, headers={"Content-Type": "text/plain"})
            return end_of(client, reply.json()["job_id"])

        before = stored()
        first = echo(50_000)
        held = stored() - before
        assert first["state"] == "done" and 50_000 < held < 51_000
        limits = {"limits": {"stored_bytes": before + held + 40_000}}
        assert client.request("PUT", "/tenants/0", json.dumps(limits), {"Content-Type": "application/json"}).status == 200
        refused = echo(50_000)
        assert refused["state"] == "failed" and refused["error"]["kind"] == "tenant_quota_exceeded"
        assert "stored_bytes" in refused["error"]["message"] and "result" not in refused
        assert echo(1000)["state"] == "done" and stored() > before + held + 1000
    with Server(tmp_path) as server:
        client = server.client
        assert before + held + 1000 < stored() < before + held + 3000
        for job in client.get("/jobs").json()["jobs"]:
            assert client.request("DELETE", f"/jobs/{job['job_id']}").status == 204
        eventually(lambda: stored() == before, what="the results' room")


def test_a_job_whose_result_is_too_large_to_keep_has_failed(client, name):
    client.deploy(name, wat('''(module (import "wasi:tensor/host@0.1.0" "emit-chunk" (func $emit (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start") (local $i i32) (loop $l (drop (call $emit (i32.const 0) (i32.const 60000)))
          (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 150))))))'''))
    reply = client.request("POST", f"/functions/{name}/invoke-async", body=b"x", headers={"Content-Type": "text/plain"})
    told = end_of(client, reply.json()["job_id"])
    assert told["state"] == "failed" and told["error"]["kind"] == "capacity_exhausted" and "result" not in told
    assert "larger than the 7864320 bytes" in told["error"]["message"]


def test_a_job_with_raw_input_keeps_the_output(client, name):
    client.deploy(name, ECHO)
    reply = client.request("POST", f"/functions/{name}/invoke-async", body=b"some text", headers={"Content-Type": "text/plain"})
    assert end_of(client, reply.json()["job_id"])["result"]["output"] == "some text"
    reply = client.request("POST", f"/functions/{name}/invoke-async", body=b"\xff\x00", headers={"Content-Type": "text/plain"})
    assert end_of(client, reply.json()["job_id"])["result"]["output_b64"] == "/wA="


def test_a_job_that_traps_has_failed_with_the_trap(client, name):
    client.deploy(name, ADD)
    told = end_of(client, start(client, name, {"export": "trap"}))
    assert told["state"] == "failed" and told["error"]["kind"] == "guest_trap" and told["error"]["trap"] == "unreachable"


def test_a_wrong_call_is_told_by_the_job(client, name):
    client.deploy(name, ADD)
    told = end_of(client, start(client, name, {"export": "add", "args": ["x", 1]}))
    assert told["state"] == "failed" and told["error"]["kind"] == "invalid_args"
    assert client.post_json("/functions/nobody/invoke-async", {}).kind == "not_found"


def test_a_running_job_can_be_cancelled_and_then_forgotten(client, name):
    client.deploy(name, ADD)
    job = start(client, name, {"export": "spin"})
    eventually(lambda: client.get(f"/jobs/{job}").json()["state"] == "running", what="the job's start")
    assert client.request("DELETE", f"/jobs/{job}").status == 204
    assert end_of(client, job)["state"] == "cancelled"
    assert client.request("DELETE", f"/jobs/{job}").status == 204
    assert client.get(f"/jobs/{job}").kind == "not_found"


def test_jobs_are_listed_newest_first_in_pages_and_to_their_tenant_only(client, shared, name):
    mine = Client(client.port, tenant=7701)
    mine.deploy(name, ADD)
    jobs = [start(mine, name, {"export": "add", "args": [i, 0]}) for i in range(5)]
    for job in jobs:
        end_of(mine, job)
    listed, cursor = [], ""
    while cursor is not None:
        page = mine.get(f"/jobs?limit=2&cursor={cursor}").json()
        assert len(page["jobs"]) <= 2
        listed += [j["job_id"] for j in page["jobs"]]
        cursor = page["next"]
    assert listed == jobs[::-1]
    assert client.get(f"/jobs/{jobs[0]}").kind == "not_found"
    assert client.get("/jobs?cursor=x").kind == "invalid_request"
    assert client.get("/jobs?limit=5000").kind == "invalid_request"


def test_results_survive_a_restart_and_unfinished_jobs_come_back_as_interrupted(server, name):
    server.start()
    server.client.deploy(name, ADD)
    done = start(server.client, name, {"export": "add", "args": [1, 2]})
    told = end_of(server.client, done)
    spinning = start(server.client, name, {"export": "spin"})
    server.process.kill()
    server.process.wait()
    server.start()
    assert server.client.get(f"/jobs/{done}").json() == told
    lost = server.client.get(f"/jobs/{spinning}").json()
    assert lost["state"] == "failed" and lost["error"]["kind"] == "interrupted"


def test_the_metric_counts_jobs_that_have_not_ended(client, name):
    def active():
        return [float(l.split()[1]) for l in client.get("/metrics").body.decode().splitlines() if l.startswith("tensor_wasm_jobs_active ")]

    client.deploy(name, ADD)
    job = start(client, name, {"export": "spin"})
    assert active() and active()[0] >= 1
    client.request("DELETE", f"/jobs/{job}")
    end_of(client, job)
    eventually(lambda: active() == [0.0], what="no active job")


def test_the_command_line_starts_waits_for_and_cancels_jobs(client, name):
    def cli(*words):
        return subprocess.run([PROGRAM, *words, "--server", f"http://127.0.0.1:{client.port}"], capture_output=True, text=True, timeout=60)

    client.deploy(name, ADD)
    started = cli("invoke", name, "--export", "add", "--args", "[2,3]", "--async", "--output", "json")
    assert started.returncode == 0, started
    job = json.loads(started.stdout)["job_id"]
    assert cli("jobs", "get", job, "--wait").stdout.splitlines()[1] == "5"
    assert job in cli("jobs", "list").stdout
    assert job in [listed["job_id"] for listed in json.loads(cli("jobs", "list", "--output", "json").stdout)]
    assert cli("jobs", "cancel", job).returncode == 0
    assert cli("jobs", "get", job).returncode == 1
