# SPDX-License-Identifier: Apache-2.0
"""Limits of tenants: what is refused, how, that nothing leaks, and that settings survive a restart."""
import collections
import concurrent.futures
import hashlib
import http.client
import json
import select
import signal
import subprocess
import time

import pytest

from twtest.build import wat
from twtest.client import Client
from twtest.paths import PROGRAM, SLOW
from twtest.server import Server, clean_environment, eventually

ADD = wat('(module (memory (export "memory") 1) (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)'
          ' (func (export "spin") (loop br 0)))')
ADMIN, DEPLOYER, OTHER, ONE_ADMIN = "admin-token-0123456789", "deploy-token-0123456789", "other-token-0123456789", "one-admin-0123456789"
TOKENS = f"{ADMIN}:tenant=*:role=admin,{DEPLOYER}:tenant=7:role=deploy,{OTHER}:tenant=8:role=deploy,{ONE_ADMIN}:tenant=7:role=admin"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("tenants"), dev_mode=False, env={"TENSOR_WASM_API_TOKENS": TOKENS}) as server:
        yield server


@pytest.fixture
def admin(guarded):
    return Client(guarded.port, token=ADMIN)


@pytest.fixture
def tenant(guarded, admin):
    """Tenant 7 without limits and functions, after the test too."""
    yield Client(guarded.port, token=DEPLOYER, tenant=7)
    everything = ("concurrent_invocations", "functions", "stored_bytes", "requests_per_s", "burst")
    assert put(admin, 7, {"limits": {name: "default" for name in everything}}).status == 200
    client = Client(guarded.port, token=DEPLOYER, tenant=7)
    eventually(client.forget_jobs, what="the jobs' end")
    for function in client.get("/functions").json()["functions"]:
        assert client.request("DELETE", f"/functions/{function['id']}").status == 204


def put(client, tenant, settings):
    return client.request("PUT", f"/tenants/{tenant}", json.dumps(settings), {"Content-Type": "application/json"})


def use(client, limit, tenant=7):
    return client.get(f"/tenants/{tenant}").json()["use"][limit]


def at_once(count, work):
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))


def begin(client, path, body):
    """A connection with a request on it whose answer nobody has read yet."""
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60 * SLOW)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", "Authorization": f"Bearer {client.token}",
                                                        "X-TensorWasm-Tenant": str(client.tenant)})
    return connection


def test_concurrent_calls_beyond_the_limit_are_refused_and_nothing_leaks(tenant, admin):
    assert tenant.deploy("busy", ADD).status == 201
    assert put(admin, 7, {"limits": {"concurrent_invocations": 2}}).status == 200
    connections = [begin(tenant, "/functions/busy/invoke", {"export": "spin"}) for _ in range(8)]
    eventually(lambda: use(admin, "concurrent_invocations")["refused"] == 6, what="six refusals")
    sockets = {connection.sock: connection for connection in connections}
    answered = eventually(lambda: len(ready := select.select(sockets, [], [], 1)[0]) == 6 and ready, what="their answers")
    for connection in map(sockets.get, answered):
        answer = connection.getresponse()
        message = json.loads(answer.read())["error"]["message"]
        assert answer.status == 429 and int(answer.headers["retry-after"]) >= 1 and "7" in message and "2" in message
    for connection in connections:
        connection.close()
    eventually(lambda: use(admin, "concurrent_invocations") == {"now": 0, "peak": 2, "refused": 6}, what="the end of the two that were let in")
    assert tenant.result("busy", "add", [2, 3]) == 5
    assert admin.metrics()['tensor_wasm_tenant_refusals_total{tenant="7",limit="concurrent_invocations"}'] == 6


def test_a_job_counts_as_a_call(tenant, admin):
    assert tenant.deploy("job", ADD).status == 201
    assert put(admin, 7, {"limits": {"concurrent_invocations": 1}}).status == 200
    start = lambda: tenant.post_json("/functions/job/invoke-async", {"export": "spin"})
    first = start()
    assert first.status == 202, first
    for refused in (start(), tenant.call("job", "add", [1, 1])):
        assert (refused.status, refused.kind) == (429, "tenant_concurrency")
    assert tenant.request("DELETE", f"/jobs/{first.json()['job_id']}").status in (202, 204)
    eventually(lambda: use(admin, "concurrent_invocations")["now"] == 0, what="the job's end")
    assert tenant.result("job", "add", [1, 1]) == 2


def test_the_rate_lets_a_burst_through_and_then_no_more_than_it_says(tenant, admin):
    assert tenant.deploy("rate", ADD).status == 201
    assert put(admin, 7, {"limits": {"requests_per_s": 1, "burst": 5}}).status == 200
    begin = time.monotonic()
    replies = at_once(4, lambda _: [tenant.call("rate", "add", [1, 2]) for _ in range(25)])
    seconds = time.monotonic() - begin
    counts = collections.Counter(r.status for several in replies for r in several)
    assert set(counts) <= {200, 429} and 5 <= counts[200] <= 5 + seconds + 1, (counts, seconds)
    limited = next(r for several in replies for r in several if r.status == 429)
    assert limited.kind == "rate_limited" and int(limited.headers["retry-after"]) >= 1
    assert use(admin, "requests_per_s")["refused"] == counts[429]
    time.sleep(float(limited.headers["retry-after"]))
    assert tenant.result("rate", "add", [1, 2]) == 3


def test_one_tenants_limits_are_no_other_tenants(guarded, tenant, admin):
    assert put(admin, 7, {"limits": {"requests_per_s": 0, "functions": 0}}).status == 200
    other = Client(guarded.port, token=OTHER, tenant=8)
    assert other.deploy("free", ADD).status == 201
    assert other.result("free", "add", [4, 5]) == 9
    refused = tenant.deploy("none", ADD)
    assert (refused.status, refused.kind) == (429, "tenant_quota_exceeded")


def test_deploys_at_once_do_not_pass_the_functions_limit(tenant, admin):
    assert put(admin, 7, {"limits": {"functions": 3}}).status == 200
    replies = at_once(8, lambda i: tenant.deploy(f"many{i}", ADD))
    assert collections.Counter(r.status for r in replies) == {201: 3, 429: 5}, replies
    assert {r.kind for r in replies if r.status == 429} == {"tenant_quota_exceeded"}
    assert len(tenant.get("/functions").json()["functions"]) == 3
    assert use(admin, "functions")["now"] == 3 and use(admin, "functions")["peak"] == 3
    made = next(r.json()["name"] for r in replies if r.status == 201)
    bigger = ADD + b"\x00\x05\x04note"  # a custom section
    assert tenant.deploy(made, bigger, method="PUT").status == 200  # a new version is not one more
    assert tenant.request("DELETE", f"/functions/{made}").status == 204
    assert use(admin, "functions")["now"] == 2
    assert tenant.deploy("again", ADD).status == 201


def test_deploys_at_once_do_not_pass_the_bytes_limit(tenant, admin):
    assert put(admin, 7, {"limits": {"stored_bytes": 3 * len(ADD) + 1}}).status == 200
    replies = at_once(8, lambda i: tenant.deploy(f"bytes{i}", ADD))
    assert collections.Counter(r.status for r in replies) == {201: 3, 429: 5}, replies
    told = use(admin, "stored_bytes")
    assert told["now"] == 3 * len(ADD) and told["refused"] >= 5
    for reply in replies:
        assert reply.status == 429 or tenant.request("DELETE", f"/functions/{reply.json()['id']}").status == 204
    assert use(admin, "stored_bytes")["now"] == 0


def test_stored_bytes_count_the_current_versions(tenant, admin):
    padded = ADD + b"\x00\xa0\x01\x04note" + b"x" * (160 - 5)
    assert put(admin, 7, {"limits": {"stored_bytes": len(ADD) + len(padded) - 1}}).status == 200
    assert tenant.deploy("one", ADD).status == 201
    assert use(admin, "stored_bytes")["now"] == len(ADD)
    refused = tenant.deploy("two", padded)
    assert (refused.status, refused.kind) == (429, "tenant_quota_exceeded") and str(len(padded)) in refused.message
    assert tenant.deploy("one", padded, method="PUT").status == 200
    assert use(admin, "stored_bytes")["now"] == len(padded)
    assert tenant.deploy("one", ADD, method="PUT").status == 200
    assert use(admin, "stored_bytes")["now"] == len(ADD)


def test_who_may_see_and_set(guarded, tenant, admin):
    assert admin.get("/tenants/7").json()["id"] == "7"
    assert tenant.get("/tenants/7").status == 200
    assert (tenant.get("/tenants/8").status, tenant.get("/tenants/8").kind) == (403, "role_denied")
    assert tenant.get("/tenants").kind == "role_denied"
    assert put(tenant, 7, {"limits": {"functions": None}}).kind == "role_denied"
    of_one = Client(guarded.port, token=ONE_ADMIN, tenant=7)  # an admin of one tenant does not lift its limits
    assert put(of_one, 7, {"limits": {"functions": None}}).kind == "tenant_scope_denied"
    assert of_one.get("/tenants").kind == "tenant_scope_denied" and of_one.get("/tenants/7").status == 200


@pytest.mark.parametrize("settings", [[], {"limits": {"cats": 1}}, {"limits": {"functions": -1}}, {"limits": {"functions": 1.5}}, {"name": 5},
                                      {"weight": 0}, {"other": 1}])
def test_wrong_settings_are_refused(admin, settings):
    before = admin.get("/tenants/7").json()["limits"]
    reply = put(admin, 7, settings)
    assert (reply.status, reply.kind) == (400, "invalid_request")
    assert admin.get("/tenants/7").json()["limits"] == before


def test_a_tenant_is_a_number(admin):
    for path in ("/tenants/x", "/tenants/-1", "/tenants/18446744073709551616"):
        assert admin.get(path).kind == "invalid_tenant"
    assert admin.get("/tenants/18446744073709551615").json()["limits"]["requests_per_s"] is None


def test_settings_and_use_survive_a_restart(tmp_path):
    with Server(tmp_path, ["--rate-limit-qps", "50", "--rate-limit-burst", "60"]) as server:
        assert put(server.client, 3, {"name": "Zoë & Co", "weight": 4, "limits": {"functions": 2, "requests_per_s": None}}).status == 200
        client = Client(server.port, tenant=3)
        assert client.deploy("kept", ADD).status == 201
        assert server.client.get("/tenants/4").json()["limits"]["requests_per_s"] == 50
        server.stop()
        server.start()
        told = server.client.get("/tenants/3").json()
        assert (told["name"], told["weight"], told["own"]) == ("Zoë & Co", 4, ["functions", "requests_per_s"])
        assert {name: n for name, n in told["limits"].items() if n is not None} == {"functions": 2, "burst": 60, "kernels": 10000, "idempotency_bytes": 64 << 20}
        assert told["use"]["functions"]["now"] == 1 and told["use"]["stored_bytes"]["now"] == len(ADD)
        assert [t["id"] for t in server.client.get("/tenants").json()["tenants"]] == ["3"]
        client = Client(server.port, tenant=3)
        assert client.deploy("second", ADD).status == 201
        assert client.deploy("third", ADD).kind == "tenant_quota_exceeded"


def cli(*arguments, port=0, env=(), status=0):
    done = subprocess.run([str(PROGRAM), *arguments], capture_output=True, text=True, timeout=30 * SLOW,
                          env=clean_environment({"TENSOR_WASM_SERVER": f"http://127.0.0.1:{port}", **dict(env)}))
    assert done.returncode == status, (arguments, done)
    return done


def test_the_command_line_sets_and_shows_limits(guarded, tenant):
    of_admin = {"port": guarded.port, "env": {"TENSOR_WASM_TOKEN": ADMIN}}
    cli("admin", "tenant", "set", "7", "functions=1", "requests_per_s=unlimited", "--name", "seven", **of_admin)
    told = json.loads(cli("admin", "tenant", "get", "7", "--output", "json", **of_admin).stdout)
    assert (told["name"], told["limits"]["functions"], sorted(told["own"])) == ("seven", 1, ["functions", "requests_per_s"])
    assert "seven" in cli("admin", "tenant", "list", **of_admin).stdout
    assert "cats" in cli("admin", "tenant", "set", "7", "cats=1", **of_admin, status=1).stderr
    cli("admin", "tenant", "set", "7", "functions=many", **of_admin, status=2)
    cli("admin", "tenant", "get", "x", **of_admin, status=2)
    refused = cli("admin", "tenant", "set", "7", "functions=2", "--tenant", "7", port=guarded.port, env={"TENSOR_WASM_TOKEN": DEPLOYER}, status=1)
    assert "role_denied" in refused.stderr


def test_tokens_of_the_file_come_and_go_with_sighup(tmp_path):
    file = tmp_path / "tokens"
    first = json.loads(cli("admin", "token", "new", "--tenant", "7,8", "--role", "deploy", "--output", "json").stdout)
    second, line, *_ = cli("admin", "token", "new", "--tenant", "*", "--role", "admin", "--expires", "2100-01-01").stdout.splitlines()
    assert first["token"] not in first["line"] and len(first["token"]) == 64
    file.write_text(first["line"] + "\n")
    with Server(tmp_path / "server", ["--tokens-file", str(file)], dev_mode=False) as server:
        of_first, of_second = Client(server.port, 8, first["token"]), Client(server.port, 5, second)
        assert of_first.get("/functions").status == 200
        assert of_second.get("/functions").kind == "unauthorized"
        assert not (server.data / "admin-token").exists()
        file.write_text(f"# now the other\n{line}\n")
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: of_second.get("/functions").status == 200, what="the reload")
        assert of_first.get("/functions").kind == "unauthorized"
        file.write_text("broken\n")
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: "line 1" in server.log, what="the refusal")
        assert of_second.get("/tenants").status == 200
    cli("admin", "token", "new", "--role", "king", status=2)
    cli("admin", "token", "new", "--expires", "2025-02-30", status=2)
    for day in ("2020-01-01", time.strftime("%Y-%m-%d", time.gmtime())):
        assert "never be of use" in cli("admin", "token", "new", "--expires", day, status=2).stderr
    assert "line 1" in cli("serve", "--data-dir", str(tmp_path / "x"), "--tokens-file", str(file), status=2).stderr


def test_changes_and_refusals_are_in_the_audit_log(tmp_path):
    log, moved = tmp_path / "audit", tmp_path / "audit.1"
    with Server(tmp_path / "server", ["--audit-log", f"file:{log}"], dev_mode=False, env={"TENSOR_WASM_API_TOKENS": TOKENS}) as server:
        admin, deployer = Client(server.port, token=ADMIN), Client(server.port, 7, DEPLOYER)
        made = deployer.deploy("seen", ADD)
        assert made.status == 201 and deployer.result("seen", "add", [1, 2]) == 3
        assert put(admin, 7, {"limits": {"functions": 1}}).status == 200
        assert put(deployer, 7, {"limits": {}}).status == 403
        assert Client(server.port, token="wrong-token-0123456789").get("/functions").status == 401
        assert Client(server.port, 9, DEPLOYER).get("/functions").status == 403
        assert deployer.request("DELETE", "/functions/seen").status == 204
        lines = lambda: [json.loads(line) for line in log.read_text().splitlines()]
        eventually(lambda: len(lines()) == 7, what="seven lines")
        told = [(e["action"], e["object"], int(e["tenant"]), e["outcome"], e["status"]) for e in lines()[1:]]
        assert told == [
            ("POST /functions", "seen", 7, "ok", 201), ("PUT /tenants/:id", "7", 0, "ok", 200),
            ("PUT /tenants/:id", "7", 7, "role_denied", 403), ("GET /functions", "", 0, "unauthorized", 401),
            ("GET /functions", "", 9, "tenant_scope_denied", 403), ("DELETE /functions/:id", "seen", 7, "ok", 204)]
        first = lines()[1] # after the server's start
        assert first["request_id"] == made.headers["x-request-id"] and first["peer"].startswith("127.0.0.1:") and first["latency_us"] > 0
        assert first["actor"] == hashlib.sha256(DEPLOYER.encode()).hexdigest()[:16] == lines()[5]["actor"]
        assert DEPLOYER not in log.read_text() and ADMIN not in log.read_text()
        assert admin.metric("tensor_wasm_audit_lines_total") == 7 and admin.metric("tensor_wasm_audit_lost_total") == 0
        log.rename(moved)
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: log.exists() and [e["action"] for e in lines()] == ["reload"], what="the new file")
    reports = [json.loads(cli("admin", "audit", "verify", str(file), "--output", "json").stdout) for file in (moved, log)]
    assert [r["lines"] for r in reports] == [7, 2] and reports[0]["last"] == reports[1]["first_prev"]
    moved.write_text(moved.read_text().replace("role_denied", "ok"))
    assert "line 5" in cli("admin", "audit", "verify", str(moved), status=1).stderr
