# SPDX-License-Identifier: Apache-2.0
"""Deploying, reading, listing, replacing and deleting functions; tenants and roles."""
import base64
import hashlib

import pytest

from twtest.build import wat
from twtest.client import Client
from twtest.server import Server

ADD = wat('(module (memory (export "memory") 1) (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))')
SUB = wat('(module (memory (export "memory") 1) (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.sub))')
CLOCK = wat('(module (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32))) (memory (export "memory") 1))')


def test_a_deployed_function_tells_what_it_is(client, name):
    reply = client.deploy(name, ADD)
    assert reply.status == 201, reply
    told = reply.json()
    assert told["name"] == name and told["version"] == 1
    assert told["digest"] == hashlib.sha256(ADD).hexdigest()
    assert {"name": "add", "params": ["i32", "i32"], "results": ["i32"]} in [
        {k: e.get(k) for k in ("name", "params", "results")} for e in told["exports"]]
    for path in (f"/functions/{name}", f"/functions/{told['id']}"):
        assert client.get(path).json()["id"] == told["id"]


def test_imports_are_listed(client, name):
    told = client.deploy(name, CLOCK).json()
    assert "clock_time_get" in str(told["imports"]) and "wasi_snapshot_preview1" in str(told["imports"])


def test_both_forms_of_a_deploy_give_the_same_function(client, name):
    first = client.deploy(name, ADD).json()
    reply = client.post_json("/functions", {"name": name, "wasm_b64": base64.b64encode(ADD).decode()})
    assert reply.status == 201 and reply.json()["id"] == first["id"] and reply.json()["version"] == 1


def test_other_bytes_under_a_known_name_conflict_and_put_makes_a_version(client, name):
    first = client.deploy(name, ADD).json()
    refused = client.deploy(name, SUB)
    assert refused.status == 409 and refused.kind == "conflict"
    assert client.result(name, "add", [5, 3]) == 8
    second = client.deploy(name, SUB, method="PUT")
    assert second.status == 200 and second.json()["version"] == 2 and second.json()["id"] == first["id"]
    assert client.result(name, "add", [5, 3]) == 2


def test_put_makes_a_function_that_was_not_there(client, name):
    assert client.deploy(name, ADD, method="PUT").status in (200, 201)
    assert client.result(name, "add", [1, 2]) == 3


def test_a_deleted_function_is_gone_and_its_name_free(client, name):
    client.deploy(name, ADD)
    assert client.request("DELETE", f"/functions/{name}").status == 204
    assert client.get(f"/functions/{name}").kind == "not_found"
    assert client.call(name, "add", [1, 2]).kind == "not_found"
    assert client.request("DELETE", f"/functions/{name}").kind == "not_found"
    assert client.deploy(name, SUB).status == 201
    assert client.result(name, "add", [9, 4]) == 5


def test_lists_are_paged_in_order(client):
    tenant = Client(client.port, tenant=4711)
    names = [f"page{i:02}" for i in range(7)]
    for one in reversed(names):
        assert tenant.deploy(one, ADD).status == 201
    seen, cursor, pages = [], "", 0
    while cursor is not None:
        page = tenant.get(f"/functions?limit=3&cursor={cursor}").json()
        seen += [f["name"] for f in page["functions"]]
        cursor, pages = page["next"], pages + 1
    assert seen == names and pages == 3
    assert tenant.get("/functions?limit=x").kind == "invalid_request"
    assert tenant.get("/functions?limit=100000").kind == "invalid_request"


@pytest.mark.parametrize("bad", ["", ".hidden", "a/b", "a b", "x" * 129, "fn-1", "naïve"])
def test_names_that_are_not_allowed_are_refused(client, bad):
    reply = client.post_json("/functions", {"name": bad, "wasm_b64": base64.b64encode(ADD).decode()})
    assert reply.status == 400 and reply.kind == "invalid_name", reply


@pytest.mark.parametrize("body, kind", [
    (b"{", "invalid_json"), (b"[]", "invalid_request"), (b'{"name":"x"}', "invalid_request"),
    (b'{"name":"x","wasm_b64":"%%%"}', "invalid_base64"), (b'{"name":"x","wasm_b64":5}', "invalid_request"),
    (b'{"name":7,"wasm_b64":"AGFzbQEAAAA="}', "invalid_name"),
    (b'{"name":"x","wasm_b64":"AGFzbQEAAAA=","config":{"colour":"red"}}', "invalid_request"),
    (b'{"name":"x","wasm_b64":"AGFzbQEAAAA=","config":{"timeout_ms":-1}}', "invalid_request"),
    (b'{"name":"x","wasm_b64":"AGFzbQEAAAA=","config":{"memory_bytes":99999999999}}', "invalid_request"),
    (b"", "invalid_json")])
def test_deploys_that_are_not_one_are_refused(client, body, kind):
    reply = client.request("POST", "/functions", body, {"Content-Type": "application/json"})
    assert reply.status == 400 and reply.kind == kind, reply
    assert len(reply.message) > 10


def test_routes_and_methods_that_are_not_there(client):
    assert client.get("/nothing").status == 404
    assert client.request("PATCH", "/functions").status == 405
    assert client.get("/functions/nosuch").kind == "not_found"


def test_a_tenant_sees_only_its_own(client, name):
    one, two = Client(client.port, tenant=1), Client(client.port, tenant=2)
    made = one.deploy(name, ADD).json()
    for key in (name, made["id"]):
        assert two.get(f"/functions/{key}").kind == "not_found"
        assert two.call(key, "add", [1, 1]).kind == "not_found"
        assert two.request("DELETE", f"/functions/{key}").kind == "not_found"
    assert two.deploy(name, SUB).status == 201
    assert (one.result(name, "add", [7, 2]), two.result(name, "add", [7, 2])) == (9, 5)
    assert Client(client.port, tenant="minus one").get("/functions").kind == "invalid_tenant"


TOKENS = "invoker-0123456789:tenant=1:role=invoke,deployer-0123456789:tenant=1,2:role=deploy,administrator-0123:tenant=*:role=admin"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("guarded"), env={"TENSOR_WASM_API_TOKENS": TOKENS}, dev_mode=False) as own:
        yield own


def test_tokens_roles_and_scopes(guarded):
    as_one = lambda token, tenant=1: Client(guarded.port, tenant=tenant, token=token)
    assert as_one(None).get("/functions").status == 401
    assert as_one("wrong-0123456789abc").get("/functions").kind == "unauthorized"
    assert Client(guarded.port).get("/healthz").status == 200
    invoker, deployer, admin = as_one("invoker-0123456789"), as_one("deployer-0123456789"), as_one("administrator-0123", 99)
    assert invoker.deploy("f", ADD).kind == "role_denied"
    assert deployer.deploy("f", ADD).status == 201
    assert invoker.result("f", "add", [1, 2]) == 3
    assert invoker.request("DELETE", "/functions/f").kind == "role_denied"
    assert as_one("deployer-0123456789", 2).deploy("f", SUB).status == 201
    assert as_one("invoker-0123456789", 2).get("/functions").kind == "tenant_scope_denied"
    assert admin.deploy("f", SUB).status == 201


def test_the_first_start_makes_an_admin_token(tmp_path):
    with Server(tmp_path, dev_mode=False) as own:
        path = own.data / "admin-token"
        assert path.stat().st_mode & 0o777 == 0o600
        token = path.read_text().strip()
        assert Client(own.port).get("/functions").status == 401
        assert Client(own.port, token=token).deploy("f", ADD).status == 201
        assert token not in own.log
