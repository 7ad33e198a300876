# SPDX-License-Identifier: Apache-2.0
"""WASI preview 1 as a C program sees it through wasi-libc."""
import time

import pytest

from twtest.build import guest, wat


@pytest.fixture(scope="module")
def wasi(shared):
    reply = shared.client.deploy("wasi", guest("wasi.c"), {"args": ["one", "two words", "ünï"], "env": {"COLOUR": "red", "EMPTY": ""}})
    assert reply.status == 201, reply

    def run(text):
        return shared.client.raw("wasi", text.encode())
    return run


def test_arguments_begin_with_the_name(wasi):
    assert wasi("args").body.decode() == "wasi\none\ntwo words\nünï\n"


def test_the_environment_is_the_functions_own(wasi):
    assert sorted(wasi("env").body.decode().split("\n")) == ["", "COLOUR=red", "EMPTY="]


def test_random_bytes_differ_between_calls(wasi):
    seen = {wasi("random").body for _ in range(5)}
    assert len(seen) == 5 and all(len(s) == 64 for s in seen)


def test_the_wall_clock_is_right(wasi):
    before = time.time_ns()
    told = int(wasi("wall").body)
    assert before <= told <= time.time_ns()


def test_sleeping_takes_as_long_as_asked(wasi):
    assert int(wasi("sleep 120").body) >= 120


def test_sleepers_do_not_hold_threads(wasi):
    """Fifty sleeps of three seconds side by side take far less than a minute, which two workers would take one after the other."""
    from concurrent.futures import ThreadPoolExecutor
    start = time.monotonic()
    with ThreadPoolExecutor(50) as pool:
        told = list(pool.map(lambda _: int(wasi("sleep 3000").body), range(50)))
    assert all(ms >= 3000 for ms in told) and time.monotonic() - start < 60


def test_standard_input_is_the_body(wasi):
    body = "count" + "\n" + "abc" * 100_000
    data = body[5:].encode()
    assert wasi(body).body.decode() == f"{len(data)} {sum(data)}"


def test_no_file_can_be_opened(wasi):
    assert wasi("open").body.decode().startswith("refused")


def test_exit_codes(wasi):
    assert wasi("exit 0").body == b"said before"
    reply = wasi("exit 7")
    assert reply.status == 502 and reply.kind == "guest_exit"
    assert reply.json()["error"]["exit_code"] == 7 and "leaving with 7" in reply.json()["error"]["stderr"]


def test_abort_is_a_trap_with_names(wasi):
    error = wasi("abort").json()["error"]
    assert error["kind"] == "guest_trap" and "abort" in str(error["backtrace"]), error


def test_json_calls_answer_output_and_result(client, name):
    client.deploy(name, wat('''(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1) (data (i32.const 16) "said\\n") (data (i32.const 0) "\\10\\00\\00\\00\\05\\00\\00\\00")
        (func (export "say") (result i32) (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))'''))
    told = client.call(name, "say").json()
    assert told["result"] == 0 and told["output"] == "said\n" and "stderr" not in told


def test_json_calls_answer_what_went_to_standard_error(client, name):
    client.deploy(name, wat('''(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi:tensor/host@0.1.0" "log" (func $log (param i32 i32 i32)))
        (memory (export "memory") 1) (data (i32.const 16) "so\\01\\ff") (data (i32.const 0) "\\10\\00\\00\\00\\04\\00\\00\\00")
        (func (export "tell") (call $log (i32.const 2) (i32.const 16) (i32.const 2))
          (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8))))
        (func (export "flood") (local $i i32) (loop $l
          (call $log (i32.const 2) (i32.const 64) (i32.const 1000))
          (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))))'''))
    assert client.call(name, "tell").json()["stderr"] == "info: so\nso\x01\ufffd"
    flood = client.call(name, "flood")
    assert flood.status == 200 and len(flood.json()["stderr"]) == 65536  # what is more is dropped


@pytest.mark.parametrize("call, wanted", [
    ("(call $write (i32.const 1) (i32.const 65532) (i32.const 1) (i32.const 8))", 21),   # EFAULT: the vector leaves memory
    ("(call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 65534))", 21),   # the count leaves memory
    ("(call $write (i32.const 1) (i32.const 24) (i32.const 1) (i32.const 8))", 21),      # the bytes leave memory
    ("(call $write (i32.const 9) (i32.const 0) (i32.const 1) (i32.const 8))", 8),        # EBADF
    ("(call $write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 8))", None),    # too many vectors: an error of any kind
])
def test_bad_pointers_are_error_codes(client, name, call, wanted):
    client.deploy(name, wat('''(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1) (data (i32.const 16) "said\\n") (data (i32.const 0) "\\10\\00\\00\\00\\05\\00\\00\\00")
        (data (i32.const 24) "\\00\\ff\\ff\\ff\\05\\00\\00\\00")
        (func (export "f") (result i32) ''' + call + "))"))
    code = client.result(name, "f")
    assert code == wanted if wanted else code != 0
