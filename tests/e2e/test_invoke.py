# SPDX-License-Identifier: Apache-2.0
"""Calling functions: arguments by signature, bytes in and out, traps, limits, fresh state."""
import concurrent.futures
import socket
import time

import pytest

from twtest.build import example, wat
from twtest.server import Server, eventually

ECHO = "".join(f'(func (export "{t}") (param {t}) (result {t}) local.get 0)' for t in ("i32", "i64", "f32", "f64", "v128"))
TYPES = wat(f'''(module (memory (export "memory") 1) {ECHO}
    (func (export "none"))
    (func (export "swap") (param i32 f64) (result f64 i32) local.get 1 local.get 0)
    (func (export "add") (param i64 i64) (result i64) local.get 0 local.get 1 i64.add))''')


@pytest.fixture(scope="module")
def types(shared):
    assert shared.client.deploy("types", TYPES).status == 201
    return shared.client


@pytest.mark.parametrize("export, argument, wanted", [
    ("i32", 1, 1), ("i32", -2147483648, -2147483648), ("i32", 2147483647, 2147483647), ("i32", 4294967295, -1),  # an unsigned i32 is one, too
   
    ("i64", 1, 1), ("i64", "9223372036854775807", 9223372036854775807), ("i64", -9007199254740993, -9007199254740993),
    ("f32", 1, 1), ("f32", 0.5, 0.5), ("f32", "NaN", "NaN"), ("f32", "Infinity", "Infinity"),
    ("f64", 1, 1), ("f64", -0.1, -0.1), ("f64", "-Infinity", "-Infinity"), ("f64", 1e300, 1e300),
    ("v128", "000102030405060708090a0b0c0d0e0f", "000102030405060708090a0b0c0d0e0f")])
def test_values_of_every_type_go_there_and_back(types, export, argument, wanted):
    assert types.result("types", export, [argument]) == wanted


def test_none_and_several_results(types):
    assert types.result("types", "none") is None
    assert types.result("types", "swap", [7, 2.5]) == [2.5, 7]
    assert types.result("types", "add", ["9223372036854775807", 1]) == -9223372036854775808


@pytest.mark.parametrize("export, args, position", [
    ("i32", [4294967296], "0"), ("i32", [-2147483649], "0"), ("i32", [1.5], "0"), ("i32", ["one"], "0"), ("i32", [None], "0"), ("i32", [True], "0"),
    ("i64", ["18446744073709551616"], "0"), ("i64", [0.1], "0"), ("v128", ["00"], "0"), ("v128", [1], "0"), ("f32", ["big"], "0"),
    ("swap", [1, []], "1"), ("swap", [1], ""), ("swap", [1, 2, 3], ""), ("none", [1], ""), ("swap", None, "")])
def test_arguments_that_do_not_fit_are_refused_by_position(types, export, args, position):
    reply = types.call("types", export, args)
    assert reply.status == 400 and reply.kind == "invalid_args", reply
    assert position in reply.message


@pytest.mark.parametrize("body, kind", [
    (b"{", "invalid_json"), (b"[1]", "invalid_request"), (b'{"export":7}', "invalid_request"), (b'{"exports":"i32"}', "invalid_request"),
    (b'{"export":"i32","args":{"a":1}}', "invalid_args"), (b'{"export":"nosuch"}', "missing_export"), (b"{}", "missing_export")])
def test_calls_that_are_not_one_are_refused(types, body, kind):
    reply = types.request("POST", "/functions/types/invoke", body, {"Content-Type": "application/json"})
    assert reply.status == 400 and reply.kind == kind, reply


@pytest.mark.parametrize("size", [0, 60_000, 65_536, 70_000, 3_000_000])
def test_a_calls_json_may_be_long(client, name, size):
    """Long ones are read elsewhere than on the event loop."""
    client.deploy(name, wat('(module (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))'))
    body = '{"export":"add",' + " " * size + '"args":[2,3]}'
    reply = client.request("POST", f"/functions/{name}/invoke", body, {"Content-Type": "application/json"})
    assert reply.status == 200 and reply.json()["result"] == 5, reply
    reply = client.request("POST", f"/functions/{name}/invoke", body.replace("3", "3" + ",3" * 2_000_001), {"Content-Type": "application/json"})
    assert reply.status == 400 and reply.kind == "invalid_json" and "more than 2000000 values" in reply.message, reply


def test_the_default_export_is_start_then_main(client, name):
    client.deploy(name, wat('(module (memory (export "memory") 1) (func (export "main") (result i32) i32.const 42))'))
    assert client.result(name) == 42


IO = '''(module
    (import "wasi:tensor/host@0.1.0" "input-len" (func $len (result i32)))
    (import "wasi:tensor/host@0.1.0" "read-input" (func $read (param i32 i32) (result i32)))
    (import "wasi:tensor/host@0.1.0" "emit-chunk" (func $emit (param i32 i32) (result i32)))
    (import "wasi:tensor/host@0.1.0" "set-content-type" (func $type (param i32 i32) (result i32)))
    (import "wasi:tensor/host@0.1.0" "set-status" (func $status (param i32) (result i32)))
    (memory (export "memory") 2)
    (data (i32.const 0) "text/x-upper")
    (func (export "_start") (local $got i32)
      (drop (call $type (i32.const 0) (i32.const 12)))
      (loop $next
        (local.set $got (call $read (i32.const 1024) (i32.const 50000)))
        (if (i32.gt_s (local.get $got) (i32.const 0)) (then
          (drop (call $emit (i32.const 1024) (local.get $got)))
          (br $next)))))
    (func (export "teapot") (drop (call $status (i32.const 418))))
    (func (export "length") (result i32) (call $len))
    (func (export "chunk") (param i32 i32) (result i32) (call $emit (local.get 0) (local.get 1)))
    (func (export "read") (param i32 i32) (result i32) (call $read (local.get 0) (local.get 1))))'''


@pytest.fixture(scope="module")
def io(shared):
    assert shared.client.deploy("io", wat(IO)).status == 201
    return shared.client


@pytest.mark.parametrize("size", [0, 1, 49_999, 50_000, 65_537, 5_000_000])
def test_bytes_come_back_as_they_went(io, size):
    data = bytes(i * 7 % 251 for i in range(min(size, 10_000))) * (size // 10_000 + 1)
    reply = io.raw("io", data[:size])
    assert reply.status == 200 and reply.body == data[:size]
    assert reply.headers["content-type"] == "text/x-upper"


def test_the_guest_sets_the_status(io):
    assert io.raw("io", b"", "teapot").status == 418


def test_chunked_bodies_are_input_too(io):
    reply = io.request("POST", "/functions/io/invoke", iter([b"abc", b"", b"defg" * 5000]), {"Content-Type": "text/plain"})
    assert reply.body == b"abc" + b"defg" * 5000


@pytest.mark.parametrize("export, args, wanted", [
    ("chunk", [-16, 32], -2), ("chunk", [0, 65537], -2), ("chunk", [131072, 1], -2), ("chunk", [131072, 0], 0),
    ("read", [0, -1], 0), ("length", [], 0)])
def test_ranges_that_leave_memory_are_codes(io, export, args, wanted):
    told = io.call("io", export, args)
    assert told.status == 200 and (told.json()["result"] == wanted or (export == "read" and told.json()["result"] == -2)), told


TRAPS = wat('''(module (memory (export "memory") 1) (table 2 funcref) (elem (i32.const 0) $deep)
    (type $v (func)) (type $i (func (param i32)))
    (func $deep unreachable)
    (func $middle (call $deep))
    (func (export "unreachable") (call $middle))
    (func (export "memory_access") (drop (i32.load (i32.const 65536))))
    (func (export "far") (drop (i32.load offset=4294967295 (i32.const -1))))
    (func (export "divide") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
    (func (export "convert") (param f64) (result i32) (i32.trunc_f64_s (local.get 0)))
    (func (export "wrong_type") (call_indirect (type $i) (i32.const 1) (i32.const 0)))
    (func (export "null") (call_indirect (type $v) (i32.const 1)))
    (func (export "beyond_table") (call_indirect (type $v) (i32.const 9)))
    (func $recurse (export "recurse") (param i64) (result i64) (i64.add (i64.const 1) (call $recurse (local.get 0)))))''')


@pytest.mark.parametrize("export, args, trap", [
    ("unreachable", [], "unreachable"), ("memory_access", [], "out_of_bounds"), ("far", [], "out_of_bounds"),
    ("divide", [1, 0], "zero"), ("divide", [-2147483648, -1], "overflow"), ("convert", ["NaN"], "conver"),
    ("wrong_type", [], "indirect|signature"), ("null", [], "indirect|null|uninit"), ("beyond_table", [], "table|undefined"),
    ("recurse", [1], "stack")])
def test_traps_are_told_with_their_kind(client, export, args, trap):
    client.deploy("traps", TRAPS)
    reply = client.call("traps", export, args)
    assert reply.status == 502 and reply.kind == "guest_trap", reply
    import re
    assert re.search(trap, reply.json()["error"]["trap"]), reply


def test_a_trap_names_the_functions_innermost_first(client):
    client.deploy("traps", TRAPS)
    frames = client.call("traps", "unreachable").json()["error"]["backtrace"]
    assert [f["function"] for f in frames] == ["deep", "middle", "unreachable"], frames  # the last one has only its export's name
    assert [f["index"] for f in frames] == [0, 1, 2], frames


SPIN = wat('''(module (memory (export "memory") 1)
    (func (export "spin") (loop $l br $l))
    (func $a (call $b)) (func $b (call $c)) (func $c (nop))
    (func (export "count") (param $n i64) (result i64) (local $i i64)
      (loop $l (local.set $i (i64.add (local.get $i) (i64.const 1))) (br_if $l (i64.lt_u (local.get $i) (local.get $n)))) (local.get $i)))''')


def test_a_deadline_stops_a_loop(client, name):
    client.deploy(name, SPIN)
    start = time.monotonic()
    reply = client.call(name, "spin", headers={"X-TensorWasm-Deadline-Ms": "150"})
    assert reply.status == 504 and reply.kind == "invoke_timeout", reply
    assert time.monotonic() - start > 0.14
    assert client.result(name, "count", [1000]) == 1000


def test_a_functions_own_time_limit(client, name):
    client.deploy(name, SPIN, {"timeout_ms": 100})
    assert client.call(name, "spin").kind == "invoke_timeout"
    start = time.monotonic()
    assert client.call(name, "spin", headers={"X-TensorWasm-Deadline-Ms": "20000"}).kind == "invoke_timeout"
    assert time.monotonic() - start < 19


@pytest.mark.parametrize("bad", ["0", "-1", "soon", "99999999999"])
def test_deadlines_that_are_none(client, types, bad):
    assert client.call("types", "none", headers={"X-TensorWasm-Deadline-Ms": bad}).kind == "invalid_request"


def test_a_client_that_leaves_ends_its_call(shared, client, name):
    client.deploy(name, SPIN)
    cancelled = 'tensor_wasm_invokes_total{result="cancelled"}'
    before = client.metrics().get(cancelled, 0)
    with socket.create_connection(("127.0.0.1", client.port)) as s:
        body = b'{"export":"spin"}'
        s.sendall(b"POST /functions/%s/invoke HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
            name.encode(), len(body), body))
        eventually(lambda: client.metric("tensor_wasm_http_requests_in_flight") >= 2, what="the call")
    eventually(lambda: client.metrics().get(cancelled, 0) > before, what="the call's end")


GROW = '(module (memory (export "memory") 1) (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))'


def test_memory_grows_to_its_limit_and_not_beyond(client, name):
    client.deploy(name, wat(GROW), {"memory_bytes": 10 * 65536})
    assert client.result(name, "grow", [9]) == 1
    assert client.result(name, "grow", [10]) == -1
    assert client.result(name, "grow", [65535]) == -1
    assert client.result(name, "grow", [9]) == 1  # the next call begins with one page again


FRESH = wat('''(module (memory (export "memory") 1 20) (global $g (mut i32) (i32.const 5)) (table $t 4 10 funcref)
    (data (i32.const 100) "image") (data $passive "passive")
    (func $f) (elem declare func $f)
    (func $start (i32.store (i32.const 200) (i32.const 77))) (start $start)
    (func (export "sum") (result i32)   ;; everything a call can leave behind, added up
      (i32.add (i32.add (i32.add (i32.load (i32.const 0)) (i32.load8_u (i32.const 100))) (i32.add (global.get $g) (memory.size)))
        (i32.add (i32.load (i32.const 200)) (i32.add (i32.load (i32.const 65000))
          (i32.add (table.size $t) (ref.is_null (table.get $t (i32.const 1))))))))
    (func (export "soil") (result i32)
      (i32.store (i32.const 0) (i32.const 1000000)) (i32.store8 (i32.const 100) (i32.const 255)) (global.set $g (i32.const 2000000))
      (i32.store (i32.const 200) (i32.const 3000000)) (i32.store (i32.const 65000) (i32.const 9)) (drop (memory.grow (i32.const 3)))
      (i32.store (i32.const 200000) (i32.const 1)) (data.drop $passive)
      (drop (table.grow $t (ref.null func) (i32.const 2))) (table.set $t (i32.const 1) (ref.func $f)) (i32.const 1))
    (func (export "grown") (result i32) (drop (memory.grow (i32.const 3))) (i32.load (i32.const 200000)))
    (func (export "soil_and_trap") (i32.store (i32.const 0) (i32.const 55)) (global.set $g (i32.const 66)) unreachable)
    (func (export "passive") (memory.init $passive (i32.const 0) (i32.const 0) (i32.const 7))))''')


def test_no_call_sees_what_another_left(client, name):
    wanted = ord("i") + 5 + 1 + 77 + 4 + 1
    client.deploy(name, FRESH)
    for _ in range(5):
        assert client.result(name, "sum") == wanted
        assert client.result(name, "soil") == 1
        assert client.result(name, "sum") == wanted
        assert client.call(name, "soil_and_trap").kind == "guest_trap"
        assert client.result(name, "sum") == wanted
        assert client.result(name, "grown") == 0
        assert client.call(name, "passive").status == 200


def test_no_call_sees_what_another_left_at_the_same_time(client, name):
    wanted = ord("i") + 5 + 1 + 77 + 4 + 1
    client.deploy(name, FRESH)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda i: (i % 2, client.result(name, "soil" if i % 2 else "sum")), range(120)))
    assert all(value == (1 if soil else wanted) for soil, value in told)


def test_output_has_a_limit(client, name):
    client.deploy(name, wat('''(module (import "wasi:tensor/host@0.1.0" "emit-chunk" (func $emit (param i32 i32) (result i32)))
        (memory (export "memory") 2)
        (func (export "_start") (loop $l (br_if $l (i32.eqz (call $emit (i32.const 0) (i32.const 65536))))))
        (func (export "count") (result i32) (local $n i32)
          (loop $l (if (i32.eqz (call $emit (i32.const 0) (i32.const 65536)))
            (then (local.set $n (i32.add (local.get $n) (i32.const 1))) (br $l)))) (local.get $n)))'''))
    assert len(client.raw(name).body) == 64 << 20


def test_streams_answer_while_the_guest_writes(client, name):
    client.deploy(name, wat('''(module (import "wasi:tensor/host@0.1.0" "emit-chunk" (func $emit (param i32 i32) (result i32)))
        (memory (export "memory") 1) (data (i32.const 0) "one two \\ff")
        (func (export "_start") (drop (call $emit (i32.const 0) (i32.const 4))) (drop (call $emit (i32.const 4) (i32.const 4)))
          (drop (call $emit (i32.const 8) (i32.const 1)))))'''))
    assert client.request("POST", f"/functions/{name}/invoke-stream", b"").body == b"one two \xff"
    events = client.request("POST", f"/functions/{name}/invoke-stream", b"", {"Accept": "text/event-stream"}).body.decode()
    assert events.count("event: chunk") >= 2 and "event: done" in events and '"base64":"/w=="' in events
    assert client.metric("tensor_wasm_http_requests_total") > 0


def test_prewarmed_instances_are_drawn(client, name):
    client.deploy(name, example("hello"))
    told = client.post_json(f"/functions/{name}/prewarm", {"count": 3})
    assert told.status == 200 and told.json()["warm"] >= 1, told
    hits = 'tensor_wasm_pool_draws_total{result="hit"}'
    before = client.metrics().get(hits, 0)
    assert client.result(name, "add", [2, 3]) == 5
    assert client.metrics()[hits] > before


def test_the_other_way_of_interrupting_gives_the_same_results(tmp_path):
    with Server(tmp_path, ["--interrupt", "epoch"]) as own:
        own.client.deploy("spin", SPIN)
        assert own.client.call("spin", "spin", headers={"X-TensorWasm-Deadline-Ms": "150"}).kind == "invoke_timeout"
        assert own.client.result("spin", "count", [100_000]) == 100_000
        own.client.deploy("fresh", FRESH)
        assert [own.client.result("fresh", f) for f in ("sum", "soil", "sum")] == [ord("i") + 5 + 1 + 77 + 4 + 1, 1, ord("i") + 5 + 1 + 77 + 4 + 1]
        own.client.deploy("edges", example("edges"))
        assert own.client.raw("edges", b"P5\n2 1\n255\n\x05\x05").body == b"P5\n2 1\n255\n\0\0"


def test_no_warm_instances_at_all(tmp_path):
    with Server(tmp_path, ["--warm-per-function", "0"]) as own:
        own.client.deploy("fresh", FRESH)
        for _ in range(3):
            assert own.client.result("fresh", "soil") == 1 and own.client.result("fresh", "sum") == ord("i") + 5 + 1 + 77 + 4 + 1
        assert own.client.metric("tensor_wasm_pool_warm_instances") == 0


def test_instances_have_a_limit_and_calls_wait_or_are_told(tmp_path):
    with Server(tmp_path, ["--max-instances", "3"]) as own:
        own.client.deploy("spin", SPIN)
        call = lambda _: own.client.call("spin", "count", [20_000_000])
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            replies = list(pool.map(call, range(32)))
        assert {r.status for r in replies} <= {200, 503} and any(r.status == 200 for r in replies)
        assert all(r.kind == "capacity_exhausted" and "retry-after" in r.headers for r in replies if r.status == 503)
        assert call(0).status == 200
