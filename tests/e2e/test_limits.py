# SPDX-License-Identifier: Apache-2.0
"""What tenants hold: each limit is tried from several connections at once, nothing passes it, and everything is given back."""
import collections
import concurrent.futures
import contextlib
import http.client
import json
import random
import socket

import h2.config
import h2.connection
import pytest

from twtest.build import guest, wat
from twtest.client import Client
from twtest.paths import SLOW
from twtest.server import Server, eventually

GUEST = guest("limits.wat")
TENANT, OTHER, PAGE = 7, 8, 65536
HELD = ("concurrent_invocations", "instances", "cpu_memory_bytes", "device_memory_bytes", "launches_in_flight", "functions", "stored_bytes")
EVERY = (*HELD, "requests_per_s", "burst", "cpu_ms_per_minute")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("limits"), ["--invoke-timeout-ms", "120000", "--kernel-timeout-ms", "60000"]) as server:
        yield server


@pytest.fixture
def tenant(own):
    """A tenant with the guest deployed; afterwards without functions and limits, and with nothing left in use."""
    client = Client(own.port, tenant=TENANT)
    assert client.deploy("g", GUEST).status == 201
    yield client
    limit(own.client, **{name: "default" for name in EVERY})
    clear(client)
    eventually(lambda: not any(in_use(own.client).values()), what=f"nothing in use: {in_use(own.client)}")


def limit(client, tenant=TENANT, **limits):
    reply = client.request("PUT", f"/tenants/{tenant}", json.dumps({"limits": limits}), {"Content-Type": "application/json"})
    assert reply.status == 200, reply


def use(client, name):
    return client.get(f"/tenants/{TENANT}").json()["use"][name]


def in_use(client):
    told = client.get(f"/tenants/{TENANT}").json()["use"]
    return {name: told[name]["now"] for name in HELD}


def shown(client, name):
    """What metrics say of it."""
    metric = {"device_memory_bytes": "gpu_memory_bytes", "launches_in_flight": "launches"}.get(name, name)
    return client.metrics().get(f'tensor_wasm_{metric}_per_tenant{{tenant_id="{TENANT}"}}', 0)


def clear(client):
    for instance in client.get("/instances").json()["instances"]:
        client.request("DELETE", f"/instances/{instance['id']}")
    for function in client.get("/functions").json()["functions"]:
        assert client.request("DELETE", f"/functions/{function['id']}").status == 204


@contextlib.contextmanager
def calls_that_stay(port, count, export, args, function="g"):
    """`count` calls of the guest at once, whose answers nobody reads; at the end their callers go away."""
    connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=60 * SLOW) for _ in range(count)]
    body = json.dumps({"export": export, "args": args})
    try:
        for connection in connections:
            connection.request("POST", f"/functions/{function}/invoke", body,
                               {"Content-Type": "application/json", "X-TensorWasm-Tenant": str(TENANT)})
        yield connections
    finally:
        for connection in connections:
            connection.close()


@pytest.mark.parametrize("export,args,name,most,each", [
    ("sleep", [], "concurrent_invocations", 3, 1),
    ("sleep", [], "instances", 3, 1),
    ("grow_and_sleep", [16], "cpu_memory_bytes", 3 * 17 * PAGE, 17 * PAGE),
    ("alloc_and_sleep", [1 << 20], "device_memory_bytes", 3 << 20, 1 << 20),
])
def test_no_number_of_connections_passes_what_a_tenant_may_hold(own, tenant, export, args, name, most, each):
    admin, before = own.client, use(own.client, name)["refused"]
    limit(admin, **{name: most + (5 * PAGE if name == "cpu_memory_bytes" else 0)})  # the others' first pages
    with calls_that_stay(own.port, 8, export, args) as calls:
        eventually(lambda: use(admin, name)["refused"] - before >= 5, what=f"five refusals: {use(admin, name)}")
        now = use(admin, name)
        assert most <= now["now"] <= most + 5 * PAGE and now["now"] // each == 3, now
        eventually(lambda: shown(admin, name) == use(admin, name)["now"] >= most, what=f"{name} in the metrics")
        assert shown(admin, "functions") == 1 and shown(admin, "stored_bytes") == len(GUEST)
        assert Client(own.port, tenant=OTHER).get("/functions").status == 200
        calls[0].close()
    eventually(lambda: in_use(admin)["concurrent_invocations"] == 0, what="the calls' end")
    told = use(admin, name)
    assert told["refused"] - before == 5 and told["peak"] <= admin.get(f"/tenants/{TENANT}").json()["limits"][name]
    assert admin.metrics()[f'tensor_wasm_tenant_refusals_total{{tenant="7",limit="{name}"}}'] == told["refused"]
    assert tenant.result("g", "add", [2, 3]) == 5


def test_a_refused_guest_sees_the_code_of_its_interface(own, tenant):
    limit(own.client, cpu_memory_bytes=4 * PAGE, device_memory_bytes=1000)
    assert tenant.result("g", "grow", [1]) == 1
    assert tenant.result("g", "grow", [1000]) == -1
    assert tenant.result("g", "alloc_and_sleep", [1001]) == -6
    limit(own.client, cpu_memory_bytes=0)
    refused = tenant.call("g", "add", [1, 1])
    assert refused.status == 200 or (refused.status, refused.kind) == (429, "tenant_quota_exceeded")  # a warm one may be there


def test_at_the_limit_on_instances_a_tenants_own_warm_ones_make_room(own, tenant):
    assert tenant.deploy("h", GUEST + b"\0\5\4more").status == 201
    limit(own.client, instances=2)
    assert tenant.post_json("/functions/g/prewarm", {"count": 2}).json()["warm"] == 2
    for _ in range(3):
        assert tenant.result("h", "add", [2, 2]) == 4 and tenant.result("g", "add", [2, 3]) == 5
    assert use(own.client, "instances")["now"] <= 2
    limit(own.client, instances=0)
    refused = tenant.deploy("never", GUEST + b"\0\5\4less")
    assert (refused.status, refused.kind) == (429, "tenant_quota_exceeded") and "instances" in refused.message


@pytest.mark.stops_kernels
def test_launches_beyond_the_limit_wait_for_their_turn(own, tenant):
    before = use(own.client, "launches_in_flight")
    limit(own.client, launches_in_flight=1)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda _: tenant.result("g", "launch", ["200000", 20]), range(6))) == [0] * 6
    after = use(own.client, "launches_in_flight")
    assert (after["now"], after["peak"], after["refused"]) == (0, 1, before["refused"])
    with calls_that_stay(own.port, 1, "launch", ["1000000000000", 1]):  # until the caller goes away
        eventually(lambda: shown(own.client, "launches_in_flight") == use(own.client, "launches_in_flight")["now"] == 1, what="a launch in flight")
    eventually(lambda: use(own.client, "launches_in_flight")["now"] == 0, what="its end")
    limit(own.client, launches_in_flight=0)  # would wait for ever
    assert tenant.result("g", "launch", ["1", 1]) == -6
    assert use(own.client, "launches_in_flight")["refused"] == before["refused"] + 1


def test_overdrawn_computing_time_is_paid_back_before_the_next_call(own, tenant):
    total = use(own.client, "cpu_ms_per_minute")["total_ms"]
    limit(own.client, cpu_ms_per_minute=60)
    replies = collections.Counter()
    while not replies[429]:  # kernels of some milliseconds each
        reply = tenant.call("g", "launch", ["5000000", 2])
        replies[reply.status] += 1
        assert reply.status in (200, 429) and replies[200] < 200, reply
    assert reply.kind == "rate_limited" and "cpu_ms_per_minute" in reply.message and 1 <= int(reply.headers["retry-after"])
    told = use(own.client, "cpu_ms_per_minute")
    assert told["now"] >= 59 and told["peak"] >= 60 and told["refused"] >= 1 and told["total_ms"] >= total + 60
    assert own.client.metrics().get('tensor_wasm_cpu_seconds_per_tenant_total{tenant_id="7"}', 0) >= told["total_ms"] // 1000
    refused = tenant.deploy("start", GUEST + b"\0\5\4most")  # start code would run
    assert (refused.status, refused.kind) == (429, "rate_limited")
    limit(own.client, cpu_ms_per_minute=1)  # one call overdraws it for minutes: what passes is what was under way together
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = collections.Counter(r.status for r in pool.map(lambda _: tenant.call("g", "launch", ["5000000", 2]), range(80)))
    assert set(statuses) == {200, 429} and statuses[200] <= 16, statuses
    other = Client(own.port, tenant=OTHER)
    assert other.deploy("g", GUEST).status == 201 and other.result("g", "add", [1, 2]) == 3
    clear(other)
    limit(own.client, cpu_ms_per_minute=600000)
    assert tenant.result("g", "add", [1, 2]) == 3


def spin(tenant, ms):
    """Computes until its deadline; a busy machine may leave it only part of that."""
    reply = tenant.call("g", "spin", headers={"X-TensorWasm-Deadline-Ms": str(ms)})
    assert reply.kind == "invoke_timeout", reply  # a running call is never stopped for what it costs


def test_a_guests_own_computing_counts_and_its_sleep_does_not(own, tenant):
    total = lambda: use(own.client, "cpu_ms_per_minute")["total_ms"]
    before = total()
    eventually(lambda: spin(tenant, 200 * SLOW) or total() - before >= 100, what="100 ms of computing")
    before = total()
    assert tenant.call("g", "sleep", headers={"X-TensorWasm-Deadline-Ms": "2000"}).kind == "invoke_timeout"
    assert total() - before < 1000


def test_who_has_overdrawn_waits_and_others_do_not(own, tenant):
    limit(own.client, cpu_ms_per_minute=20)
    eventually(lambda: tenant.call("g", "spin", headers={"X-TensorWasm-Deadline-Ms": str(300 * SLOW)}).status == 429, what="a refusal")
    refused = tenant.call("g", "add", [1, 1])
    assert (refused.status, refused.kind) == (429, "rate_limited") and int(refused.headers["retry-after"]) >= 1
    assert Client(own.port, tenant=OTHER).get("/functions").status == 200


def go_away(port, export, args):
    """Calls, and hangs up without waiting for the answer."""
    with calls_that_stay(port, 1, export, args):
        pass


def leave_a_stream(port, name):
    """Begins a streamed call over HTTP/1 and hangs up; then over HTTP/2, one stream reset and one left behind."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60 * SLOW)) as connection:
        connection.request("POST", f"/functions/{name}/invoke-stream?export=sleep", b"", {"X-TensorWasm-Tenant": str(TENANT)})
    with socket.create_connection(("127.0.0.1", port), timeout=60 * SLOW) as s:
        two = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        two.initiate_connection()
        for stream, export in ((1, "sleep"), (3, "spin")):
            two.send_headers(stream, [(":method", "POST"), (":path", f"/functions/{name}/invoke?export={export}"), (":scheme", "http"),
                                      (":authority", "t"), ("x-tensorwasm-tenant", str(TENANT))], end_stream=True)
        s.sendall(two.data_to_send())
        two.reset_stream(1)
        s.sendall(two.data_to_send())


def keep_one(client, port, name, choose):
    """An instance that keeps its state: called, left while it works, or ended while it works."""
    made = client.post_json("/instances", {"function": name})
    if made.status != 201:
        return [made]
    path = f"/instances/{made.json()['id']}"
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60 * SLOW)) as connection:
        connection.request("POST", f"{path}/invoke", json.dumps({"export": choose.choice(["add", "trap", "sleep", "spin"]), "args": []}),
                           {"Content-Type": "application/json", "X-TensorWasm-Tenant": str(TENANT)})
        return [client.request("DELETE", path)] if choose.random() < 0.7 else []


def work(own, number):
    """A random mix of everything that takes something; whatever the answers are, the server has to stand."""
    choose, client = random.Random(number), Client(own.port, tenant=TENANT)
    for step in range(25):
        name = choose.choice(["g", "g", "g", f"m{choose.randrange(3)}"])
        act = choose.randrange(11)
        if act == 0:
            replies = [client.deploy(name, GUEST + bytes([0, 3, 2, number % 100, step]), method="PUT")]
        elif act == 1 and name != "g":
            replies = [client.request("DELETE", f"/functions/{name}")]
        elif act == 2:
            replies = [client.call(name, "spin", headers={"X-TensorWasm-Deadline-Ms": "20"})]
        elif act == 3:
            go_away(own.port, choose.choice(["sleep", "spin", "trap"]), [])
            replies = []
        elif act == 4:
            go_away(own.port, "alloc_and_sleep", [1 << 16])
            replies = []
        elif act == 5:
            job = client.post_json(f"/functions/{name}/invoke-async", {"export": choose.choice(["add", "trap", "sleep"]), "args": [1, 1]})
            replies = [job] + ([client.request("DELETE", f"/jobs/{job.json()['job_id']}")] if job.status == 202 else [])
        elif act == 6:
            replies = [client.call(name, "launch", ["1000", 3])]
        elif act == 7:
            replies = [client.post_json(f"/functions/{name}/prewarm", {"count": choose.randrange(4)})]
        elif act == 8:
            replies = keep_one(client, own.port, name, choose)
        elif act == 9:
            leave_a_stream(own.port, name)
            replies = []
        else:
            replies = [client.call(name, choose.choice(["trap", "grow", "add"]), choose.choice([[], [1], [1, 2]]))]
        for reply in replies:
            assert reply.status != 500, reply


def test_after_any_mix_nothing_is_in_use(own, tenant):
    limit(own.client, concurrent_invocations=20, instances=8, cpu_memory_bytes=40 * PAGE, device_memory_bytes=4 << 16, launches_in_flight=2)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        for _ in pool.map(lambda number: work(own, number), range(6)):
            pass
    eventually(tenant.forget_jobs, what="the jobs' end")
    eventually(lambda: in_use(own.client)["concurrent_invocations"] == 0, what="the last call's end")
    for instance in tenant.get("/instances").json()["instances"]:  # of whose callers some have gone
        tenant.request("DELETE", f"/instances/{instance['id']}")
    assert tenant.result("g", "add", [20, 22]) == 42
    clear(tenant)
    eventually(lambda: in_use(own.client) == dict.fromkeys(HELD, 0), what=f"nothing in use: {in_use(own.client)}")
    assert {name: shown(own.client, name) for name in HELD} == dict.fromkeys(HELD, 0)


MIB = 1 << 20
# gather(n) emits n pieces of 64 KiB and answers how many were taken; with a second argument it then waits.
GATHER = wat('''(module (import "wasi:tensor/host@0.1.0" "emit-chunk" (func $emit (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2) (data (i32.const 65552) "\\01\\00\\00\\00") (data (i32.const 65560) "\\00\\00\\00\\00\\00\\01\\00\\00")
    (func (export "gather") (param i32 i32) (result i32) (local $i i32)
      (block $full (loop $l (br_if $full (i32.ge_u (local.get $i) (local.get 0)))
        (br_if $full (i32.ne (call $emit (i32.const 0) (i32.const 65536)) (i32.const 0)))
        (local.set $i (i32.add (local.get $i) (i32.const 1))) (br $l)))
      (if (local.get 1) (then (drop (call $poll (i32.const 65536) (i32.const 65700) (i32.const 1) (i32.const 65800)))))
      (local.get $i)))''')


def test_output_that_calls_gather_counts_as_memory(own, tenant):
    admin = own.client
    tenant.deploy("o", GATHER)
    assert tenant.result("o", "gather", [64, 0]) == 64
    with calls_that_stay(own.port, 3, "gather", [32, 1], "o"):  # 2 MiB each, kept while they wait
        eventually(lambda: use(admin, "cpu_memory_bytes")["now"] >= 6 * MIB, 30, "what three calls gathered")
        assert shown(admin, "cpu_memory_bytes") == use(admin, "cpu_memory_bytes")["now"]
        limit(admin, cpu_memory_bytes=10 * MIB)
        assert 16 <= tenant.result("o", "gather", [200, 0]) < 64  # what fits; the rest is refused to the guest
        assert tenant.result("o", "gather", [1, 0]) == 1
    eventually(lambda: use(admin, "cpu_memory_bytes")["now"] < 2 * MIB, 30, "given back")
    assert tenant.result("o", "gather", [64, 0]) == 64


def test_answers_that_nobody_reads_take_no_more_than_the_share_of_bodies(own, tenant):
    """Eight answers of some 100 MiB each, read by nobody: the server has 1 GiB for bodies, and a tenant at most half of it."""
    tenant.deploy("o", GATHER)
    with calls_that_stay(own.port, 8, "gather", [256, 0], "o") as calls:  # 16 MiB of zeros, six characters each in JSON
        statuses = collections.Counter(call.getresponse().status for call in calls)
        assert set(statuses) == {200, 429}, statuses
        assert Client(own.port, tenant=OTHER).get("/functions").status == 200
    eventually(lambda: tenant.call("o", "gather", [32, 0]).status == 200, 30, "room again")
