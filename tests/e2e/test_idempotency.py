# SPDX-License-Identifier: Apache-2.0
"""Idempotency-Key: a creating request that is sent again is answered again, not done again."""
import concurrent.futures
import json
import pathlib
import signal

import pytest

from twtest.build import wat
from twtest.client import Client
from twtest.server import Server

ADD = wat('(module (memory (export "memory") 1) (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))')
BODY = b'{"export":"add","args":[2,3]}'


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("once")) as server:
        assert server.client.deploy("f", ADD).status == 201
        yield server


def start(client, key, body=BODY, path="/functions/f/invoke-async", kind="application/json"):
    return client.request("POST", path, body, {"Content-Type": kind, "Idempotency-Key": key})


def jobs(client):
    return len(client.get("/jobs?limit=1000").json()["jobs"])


def test_the_same_request_gets_the_same_answer_and_makes_one_job(own):
    before = jobs(own.client)
    first = start(own.client, "job-1")
    assert first.status == 202 and "idempotent-replayed" not in first.headers
    for _ in range(3):
        again = start(own.client, "job-1")
        assert again.status == 202 and again.headers["idempotent-replayed"] == "true"
        assert again.body == first.body and again.headers["content-type"] == first.headers["content-type"]
    assert jobs(own.client) == before + 1
    assert start(own.client, "job-2").json()["job_id"] != first.json()["job_id"]
    assert own.client.metric("tensor_wasm_idempotent_replays_total") >= 3


@pytest.mark.parametrize("other", [
    {"body": b'{"export":"add","args":[2,4]}'}, {"path": "/functions/f/invoke-async?export=add"}, {"kind": "application/octet-stream"},
    {"path": "/instances", "body": b'{"function":"f"}'}])
def test_another_request_with_the_key_is_422(own, other):
    assert start(own.client, "taken").status == 202
    reply = start(own.client, "taken", **other)
    assert reply.status == 422 and reply.kind == "idempotency_key_reused"


def test_a_key_is_a_tenants_own(own):
    other = Client(own.port, tenant=5)
    assert other.deploy("f", ADD).status == 201
    assert start(own.client, "shared").json()["job_id"] != start(other, "shared").json()["job_id"]


def test_a_failure_leaves_the_key_free(own):
    for _ in range(2):
        reply = start(own.client, "late", path="/functions/later/invoke-async")
        assert reply.status == 404 and "idempotent-replayed" not in reply.headers
    assert own.client.deploy("later", ADD).status == 201
    assert start(own.client, "late", path="/functions/later/invoke-async").status == 202


def test_every_creating_route_heeds_it(own):
    instance = start(own.client, "i", b'{"function":"f"}', "/instances")
    assert instance.status == 201 and start(own.client, "i", b'{"function":"f"}', "/instances").json()["id"] == instance.json()["id"]
    deployed = start(own.client, "d", ADD, "/functions?name=g", "application/wasm")
    assert deployed.status == 201
    assert own.client.request("DELETE", "/functions/g").status == 204
    again = start(own.client, "d", ADD, "/functions?name=g", "application/wasm")
    assert again.status == 201 and again.body == deployed.body
    assert own.client.get("/functions/g").status == 404  # it was not done again


def test_clients_at_once_make_one_job(own):
    before = jobs(own.client)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda _: start(own.client, "race"), range(16)))
    assert {r.status for r in replies} <= {202, 409}
    assert all(r.kind == "request_in_progress" and r.headers["retry-after"] for r in replies if r.status == 409)
    assert len({r.body for r in replies if r.status == 202}) == 1 and jobs(own.client) == before + 1


def test_keys_survive_a_kill_and_are_found_by_another_server(tmp_path):
    with Server(tmp_path) as server:
        server.client.deploy("f", ADD)
        first = start(server.client, "k")
        other = Server(tmp_path / "other")
        other.data = server.data
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        server.start()
        again = start(server.client, "k")
        assert again.body == first.body and again.headers["idempotent-replayed"] == "true"
        second = start(server.client, "k2")
        with other:  # started before k3 exists
            third = start(server.client, "k3")
            assert start(other.client, "k2").body == second.body
            assert start(other.client, "k3").body == third.body
            assert start(other.client, "k3", b"{}").status == 422


def test_a_damaged_record_does_not_stop_a_start(tmp_path):
    with Server(tmp_path) as server:
        server.client.deploy("f", ADD)
        first = start(server.client, "k")
        server.stop()
        folder = pathlib.Path(server.data) / "records" / "once"
        record = next(p for p in folder.iterdir() if len(p.name) == 64)
        data = record.read_bytes()
        record.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        server.start()
        reply = start(server.client, "k")
        assert reply.status in (202, 503), reply  # done again, or told that the store is damaged; not given a false answer
        assert reply.body != first.body


def limit(client, value, tenant):
    reply = client.request("PUT", f"/tenants/{tenant}", json.dumps({"limits": {"idempotency_bytes": value}}), {"Content-Type": "application/json"})
    assert reply.status == 200, reply


def kept(client, tenant):
    return client.get(f"/tenants/{tenant}").json()["use"]["idempotency_bytes"]


def test_answers_count_and_the_oldest_make_room(tmp_path):
    with Server(tmp_path) as server:
        admin, tenant, other = server.client, Client(server.port, tenant=7), Client(server.port, tenant=8)
        assert tenant.deploy("f", ADD).status == other.deploy("f", ADD).status == 201
        assert start(other, "k0").status == 202
        of_other = kept(admin, 8)["now"]
        first = {f"k{i}": start(tenant, f"k{i}").body for i in range(8)}
        told = kept(admin, 7)
        each = told["now"] // 8
        # All of one form and length, but for a digit or two of a time.
        assert each > len(first["k0"]) and abs(told["now"] - 8 * of_other) < 64 and told["refused"] == 0
        assert admin.metrics()['tensor_wasm_idempotency_bytes_per_tenant{tenant_id="7"}'] == told["now"]
        most = told["now"]
        limit(admin, most, 7)
        first["k8"] = start(tenant, "k8").body
        first["k9"] = start(tenant, "k9").body
        told = kept(admin, 7)
        assert told["now"] <= told["peak"] <= most and told["now"] > 7 * each - 64 and told["refused"] >= 2
        assert all(start(tenant, f"k{i}").body == first[f"k{i}"] for i in range(3, 10))
        assert kept(admin, 8)["now"] == of_other and start(other, "k0").headers["idempotent-replayed"] == "true"
        server.stop()
        server.start()
        admin, tenant = server.client, Client(server.port, tenant=7)
        assert kept(admin, 7)["now"] == told["now"]
        # Those of the time before the start are still the older ones.
        assert start(tenant, "k10").status == 202
        assert start(tenant, "k9").body == first["k9"] and start(tenant, "k10").headers["idempotent-replayed"] == "true"
        again = start(tenant, "k0")
        assert again.status == 202 and "idempotent-replayed" not in again.headers and again.body != first["k0"]
        assert kept(admin, 7)["now"] <= most


def test_a_record_that_is_gone_costs_one_answer(own):
    first = start(own.client, "gone")
    folder = pathlib.Path(own.data) / "records" / "once"
    for record in folder.iterdir():
        record.unlink()
    reply = start(own.client, "gone")
    assert reply.status == 503 and reply.kind == "store_unavailable" and "send the request again" in reply.message
    again = start(own.client, "gone")
    assert again.status == 202 and again.body != first.body and "idempotent-replayed" not in again.headers
    assert start(own.client, "gone").body == again.body


def test_an_answer_above_the_limit_is_not_kept_and_costs_no_other(own):
    tenant = Client(own.port, tenant=9)
    assert tenant.deploy("f", ADD).status == 201
    assert start(tenant, "small").status == 202
    limit(own.client, kept(own.client, 9)["now"] + 1, 9)
    instance = tenant.post_json("/instances", {"function": "f"}).json()["id"]
    save = {"body": json.dumps({"instance_id": instance}).encode(), "path": "/snapshot/save"}
    for _ in range(2):
        reply = start(tenant, "large", **save)  # a memory of 64 KiB
        assert reply.status // 100 == 2 and "idempotent-replayed" not in reply.headers
    assert start(tenant, "small").headers["idempotent-replayed"] == "true"
    assert kept(own.client, 9)["refused"] == 2
