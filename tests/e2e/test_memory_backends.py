# SPDX-License-Identifier: Apache-2.0
"""Where instances have their memory changes no result: the same calls with our own memory and with Wasmtime's pooling allocator."""
import concurrent.futures
import json
import subprocess

import pytest

from twtest.build import example, wat
from twtest.paths import PROGRAM
from twtest.server import Server, clean_environment

# Adds up what it finds, then leaves nothing as it was, and ends as it is told.
VANDAL = wat('''(module (memory (export "memory") 2 40) (global $g (mut i32) (i32.const 7)) (data (i32.const 70000) "\\05")
  (func $start (i32.store8 (i32.const 130000) (i32.const 9))) (start $start)
  (func $found (result i32)
    (i32.add (i32.add (i32.load8_u (i32.const 70000)) (i32.load8_u (i32.const 130000)))
      (i32.add (i32.add (global.get $g) (i32.load8_u (i32.const 0))) (i32.mul (memory.size) (i32.const 1000)))))
  (func $soil (global.set $g (i32.const -5)) (drop (memory.grow (i32.const 3)))
    (memory.fill (i32.const 0) (i32.const 255) (i32.mul (memory.size) (i32.const 65536))))
  (func (export "return") (result i32) (local $n i32) (local.set $n (call $found)) (call $soil) (local.get $n))
  (func (export "trap") (call $soil) unreachable)
  (func (export "spin") (call $soil) (loop (br 0)))
  (func (export "climb") (result i32) (loop (br_if 0 (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0)))) (memory.size)))''')
FRESH = 5 + 9 + 7 + 2000
# Reads into memory that it has just got.
ECHO = wat('''(module (import "wasi:tensor/host@0.1.0" "read-input" (func $read (param i32 i32) (result i32)))
  (import "wasi:tensor/host@0.1.0" "emit-chunk" (func $emit (param i32 i32) (result i32))) (memory (export "memory") 1)
  (func (export "_start") (drop (memory.grow (i32.const 1)))
    (drop (call $emit (i32.const 65536) (call $read (i32.const 65536) (i32.const 65536))))))''')
TABLES = wat('''(module (table $t 2 10 funcref) (elem (i32.const 0) $one $two) (type $f (func (result i32)))
  (func $one (result i32) i32.const 1) (func $two (result i32) i32.const 2)
  (func (export "f") (result i32) (local $n i32)
    (local.set $n (i32.add (call_indirect (type $f) (i32.const 0)) (i32.mul (table.size $t) (i32.const 10))))
    (table.set $t (i32.const 0) (ref.func $two)) (drop (table.grow $t (ref.null func) (i32.const 3)))
    (local.get $n)))''')


@pytest.fixture(scope="module", params=["owned", "pooling"])
def backend(request, tmp_path_factory):
    with Server(tmp_path_factory.mktemp(request.param), ["--memory-backend", request.param, "--max-memory-bytes", "1048576"]) as server:
        server.client.deploy("vandal", VANDAL)
        yield server


def test_every_call_finds_the_image_however_the_last_one_ended(backend):
    for _ in range(10):
        assert backend.client.result("vandal", "return") == FRESH
        assert backend.client.call("vandal", "trap").kind == "guest_trap"
    for _ in range(3):
        assert backend.client.call("vandal", "spin", headers={"X-TensorWasm-Deadline-Ms": "50"}).kind == "invoke_timeout"
        assert backend.client.result("vandal", "return") == FRESH


def test_calls_at_once_do_not_see_one_another(backend):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: backend.client.result("vandal", "return"), range(200))) == {FRESH}


def test_memory_grows_to_the_limit_and_no_further(backend):
    assert [backend.client.result("vandal", "climb") for _ in range(2)] == [16, 16]


def test_bytes_go_in_and_out(backend):
    backend.client.deploy("echo", ECHO)
    for size in (5, 0, 60_000, 7):
        assert backend.client.raw("echo", b"x" * size).body == b"x" * size


def test_functions_that_need_a_device_are_told_where_there_is_none(backend):
    backend.client.deploy("edges", example("edges"))
    reply = backend.client.raw("edges", b"P5\n2 1\n255\n\x05\x05")
    if backend.options[1] == "owned":
        assert reply.body == b"P5\n2 1\n255\n\0\0"
    else:
        assert reply.status == 502 and "--memory-backend owned" in reply.body.decode(), reply


def test_tables_are_put_back_too(backend):
    backend.client.deploy("tables", TABLES)
    assert [backend.client.result("tables", "f") for _ in range(5)] == [21] * 5


def test_instances_that_keep_their_state_keep_it(backend):
    made = backend.client.post_json("/instances", {"function": "vandal"})
    path = f"/instances/{made.json()['id']}/invoke"
    call = lambda: backend.client.post_json(path, {"export": "return", "args": []}).json()["result"]
    assert call() == FRESH
    assert call() == 255 + 255 - 5 + 255 + 5000


def test_the_server_tells_where_memory_is(backend):
    told = backend.client.get("/observe").json()
    chosen = told["config"]["TENSOR_WASM_MEMORY_BACKEND"]["value"]
    assert told["engine"]["memory_backend"] == chosen and (told["engine"]["reset"] == "instantiate") == (chosen == "pooling")


def run(*args):
    return subprocess.run([PROGRAM, *args], capture_output=True, text=True, env=clean_environment({}))


def test_what_cannot_go_together_is_refused_by_name(tmp_path):
    for args, words in ((["--reset", "madvise"], "TENSOR_WASM_RESET"), (["--device", "cuda"], "TENSOR_WASM_MEMORY_BACKEND=owned")):
        told = run("serve", "--data-dir", str(tmp_path), "--addr", "127.0.0.1:0", "--memory-backend", "pooling", *args)
        assert told.returncode == 2 and words in told.stderr, told
    told = run("serve", "--data-dir", str(tmp_path), "--memory-backend", "slab")
    assert told.returncode == 2 and "owned or pooling" in told.stderr
    findings = json.loads(run("doctor", "--memory-backend", "pooling", "--output", "json").stdout)
    assert any(f["name"] == "instance reset" and f["text"].startswith("pooling") for f in findings)


def test_a_module_runs_here_with_either(tmp_path):
    (tmp_path / "vandal.wasm").write_bytes(VANDAL)
    for backend in ("owned", "pooling"):
        told = run("run", str(tmp_path / "vandal.wasm"), "--export", "return", "--args", "[]", "--memory-backend", backend)
        assert told.returncode == 0 and json.loads(told.stdout) == FRESH, told
