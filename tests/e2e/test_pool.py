# SPDX-License-Identifier: Apache-2.0
"""Warm instances as operators see them: made ahead, drawn, let go."""
from twtest.build import wat
from twtest.client import Client
from twtest.server import eventually

COUNT = wat('(module (memory (export "memory") 1) (global $g (mut i32) (i32.const 0))'
            ' (func (export "f") (result i32) (global.set $g (i32.add (global.get $g) (i32.const 1))) (global.get $g)))')
WARM = "tensor_wasm_pool_warm_instances"
HITS, MISSES = 'tensor_wasm_pool_draws_total{result="hit"}', 'tensor_wasm_pool_draws_total{result="miss"}'


def test_warm_instances_are_drawn_and_let_go_when_nobody_calls(server):
    server.options += ["--warm-per-function", "3", "--warm-idle-ms", "1500"]
    server.start()
    client = server.client
    client.deploy("f", COUNT)
    assert client.post_json("/functions/f/prewarm", {"count": 9}).json()["warm"] == 3
    hits = client.metrics().get(HITS, 0)
    assert [client.result("f", "f") for _ in range(5)] == [1] * 5
    assert client.metrics()[HITS] >= hits + 1
    eventually(lambda: client.metric(WARM) == 0 == client.metric("tensor_wasm_active_instances"), 20, "all of them going")
    misses = client.metrics().get(MISSES, 0)
    assert client.result("f", "f") == 1
    assert client.metrics()[MISSES] == misses + 1


def test_tenants_do_not_share_warm_instances(server):
    server.options += ["--warm-per-function", "4"]
    server.start()
    one, two = Client(server.port, tenant=1), Client(server.port, tenant=2)
    for tenant in (one, two):
        tenant.deploy("f", COUNT)
    assert one.post_json("/functions/f/prewarm", {"count": 4}).json()["warm"] == 4
    misses = one.metrics().get(MISSES, 0)
    assert two.result("f", "f") == 1
    assert one.metrics()[MISSES] == misses + 1 and one.metric(WARM) == 5
