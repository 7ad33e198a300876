# SPDX-License-Identifier: Apache-2.0
"""Warm instances as operators see them: made ahead, drawn, let go."""
from twtest.build import wat
from twtest.client import Client
from twtest.server import eventually

COUNT = wat('(module (memory (export "memory") 1) (global $g (mut i32) (i32.const 0))'
            ' (func (export "f") (result i32) (global.set $g (i32.add (global.get $g) (i32.const 1))) (global.get $g)))')
# With start code no instance is made ahead by the deploy.
STARTS = wat('(module (memory (export "memory") 1) (func $s) (start $s) (func (export "f") (result i32) (i32.const 1)))')
WARM = "tensor_wasm_pool_warm_instances"
HITS, MISSES = 'tensor_wasm_pool_draws_total{result="hit"}', 'tensor_wasm_pool_draws_total{result="miss"}'


def test_warm_instances_are_drawn_and_let_go_when_nobody_calls(server):
    server.options += ["--warm-per-function", "3", "--warm-idle-ms", "3000"]
    server.start()
    client = server.client
    client.deploy("f", COUNT)
    assert client.post_json("/functions/f/prewarm", {"count": 9}).json()["warm"] == 3
    hits = client.metrics().get(HITS, 0)
    assert [client.result("f", "f") for _ in range(5)] == [1] * 5
    assert client.metrics()[HITS] >= hits + 1
    eventually(lambda: client.metric(WARM) == 0 == client.metric("tensor_wasm_active_instances"), what="all of them going")
    misses = client.metrics().get(MISSES, 0)
    assert client.result("f", "f") == 1
    assert client.metrics()[MISSES] == misses + 1


def test_the_first_call_after_a_deploy_finds_an_instance(server):
    with server:
        for version in range(3):
            kind = wat(f'(module (memory (export "memory") 1) (data (i32.const 5) "\\0{version}")'
                       ' (func (export "f") (result i32) (i32.load8_u (i32.const 5))))')
            assert server.client.deploy("f", kind, method="PUT").status == 200
            before = server.client.metrics()
            assert server.client.result("f", "f") == version
            after = server.client.metrics()
            assert after[HITS] == before.get(HITS, 0) + 1 and after.get(MISSES, 0) == before.get(MISSES, 0)


def test_tenants_do_not_share_warm_instances(server):
    server.options += ["--warm-per-function", "4"]
    server.start()
    one, two = Client(server.port, tenant=1), Client(server.port, tenant=2)
    for tenant in (one, two):
        tenant.deploy("f", STARTS)
    assert one.post_json("/functions/f/prewarm", {"count": 4}).json()["warm"] == 4
    misses = one.metrics().get(MISSES, 0)
    assert two.result("f", "f") == 1
    assert one.metrics()[MISSES] == misses + 1 and one.metric(WARM) == 5


def test_an_instance_that_cannot_be_put_back_goes_and_is_counted(server):
    server.options += ["--warm-per-function", "1"]
    server.env = {"TW_FAULT": "reset:1"}
    server.start()
    server.client.deploy("f", COUNT)
    assert [server.client.result("f", "f") for _ in range(3)] == [1] * 3
    eventually(lambda: server.client.metric("tensor_wasm_pool_reset_failed_total") == 1, what="the count")
    assert server.client.metric("tensor_wasm_instance_terminations_total") >= 1


def test_memory_is_put_back_by_madvise_too(server):
    server.options += ["--reset", "madvise", "--warm-per-function", "1"]
    server.start()
    server.client.deploy("f", wat('(module (memory (export "memory") 2) (data (i32.const 8) "\\05") (func (export "f") (result i32)'
                                  ' (i32.store8 (i32.const 8) (i32.add (i32.load8_u (i32.const 8)) (i32.const 1)))'
                                  ' (i32.store8 (i32.const 99999) (i32.add (i32.load8_u (i32.const 99999)) (i32.const 1)))'
                                  ' (i32.add (i32.load8_u (i32.const 8)) (i32.load8_u (i32.const 99999)))))'))
    assert [server.client.result("f", "f") for _ in range(5)] == [7] * 5
    assert server.client.metrics()[HITS] >= 4


def test_calls_beyond_the_threads_for_long_ones_wait(server, name):
    server.options += ["--max-long-calls", "1", "--threads", "1", "--invoke-timeout-ms", "600000"]
    server.start()
    one, two = Client(server.port, tenant=1), Client(server.port, tenant=2)
    one.deploy(name, wat('(module (func (export "spin") (loop (br 0))))'))
    two.deploy(name, COUNT)
    spin = one.post_json(f"/functions/{name}/invoke-async", {"export": "spin", "args": []})
    assert spin.status == 202
    short = lambda: two.call(name, "f", headers={"X-TensorWasm-Deadline-Ms": "300"})
    eventually(lambda: short().kind == "invoke_timeout", what="the one thread being taken")
    assert one.request("DELETE", f"/jobs/{spin.json()['job_id']}").status == 204
    eventually(lambda: short().status == 200, what="the thread being free again")


def test_the_same_bytes_share_code_between_tenants(server):
    server.start()
    one, two = Client(server.port, tenant=1), Client(server.port, tenant=2)
    one.deploy("f", COUNT)
    assert one.result("f", "f") == 1
    mapped = one.metric("tensor_wasm_code_mapped_bytes")
    assert mapped > 0
    two.deploy("g", COUNT)
    assert [c.result(n, "f") for c, n in ((two, "g"), (one, "f"), (two, "g"))] == [1] * 3
    assert one.metric("tensor_wasm_code_mapped_bytes") == mapped


def test_code_beyond_the_limit_is_unmapped_and_mapped_again(server):
    server.options += ["--max-code-bytes", "1", "--warm-per-function", "0"]
    server.start()
    guests = {f"f{i}": wat(f'(module (memory (export "memory") 1) (func (export "f") (result i32) i32.const {i}))') for i in range(4)}
    for name, wasm in guests.items():
        assert server.client.deploy(name, wasm).status == 201
    for _ in range(3):
        assert [server.client.result(name, "f") for name in guests] == [0, 1, 2, 3]
    server.client.result("f0", "f")
    one = eventually(lambda: server.client.metric("tensor_wasm_code_mapped_bytes"), what="mapped code")
    server.stop()
    server.options += ["--max-code-bytes", "0"]
    server.start()
    assert [server.client.result(name, "f") for name in guests] == [0, 1, 2, 3]
    assert server.client.metric("tensor_wasm_code_mapped_bytes") > 2 * one
