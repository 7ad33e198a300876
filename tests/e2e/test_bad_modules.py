# SPDX-License-Identifier: Apache-2.0
"""Modules that must not be deployed: each gets its error, and what comes after works."""
import os
import random

import pytest

from twtest.build import big_module, example, leb, section, wat
from twtest.client import Client

GOOD = example


@pytest.fixture(autouse=True)
def next_call_works(client):
    yield
    client.deploy("after-bad", GOOD("hello"))
    assert client.result("after-bad", "add", [40, 2]) == 42


@pytest.mark.parametrize("wasm", [
    b"", b"\0asm", b"hello, world", b"\0asm\2\0\0\0", b"\x7fELF" + b"\0" * 100, b"\0asm\1\0\0\0\xff", b"\0asm\x0d\0\1\0",
    b"\0asm\1\0\0\0" + section(1, leb(1000000000)), b"\0asm\1\0\0\0\x01\xff\xff\xff\xff\x0f",
    b"\0asm\1\0\0\0" + section(3, leb(1) + b"\0")], ids=lambda w: w[:12].hex() or "empty")
def test_bytes_that_are_no_module(client, name, wasm):
    reply = client.deploy(name, wasm)
    assert (reply.status, reply.kind) in ((400, "invalid_wasm"), (413, "module_too_large")), reply
    assert len(reply.message) > 10
    assert client.get(f"/functions/{name}").kind == "not_found"


def test_truncated_modules(client, name):
    wasm = GOOD("edges")
    for size in sorted({len(wasm) * i // 25 for i in range(25)} | {8, 9, 10, len(wasm) - 1}):
        reply = client.deploy(name, wasm[:size])
        assert (reply.status == 400 and reply.kind in ("invalid_wasm", "compile_failed")) or reply.status == 201, (size, reply)
        if reply.status == 201:  # cut exactly between two sections, what is left may be a module
            client.request("DELETE", f"/functions/{name}")


def test_damaged_modules(client, name):
    source = random.Random(7)
    wasm = GOOD("vector_add")
    for _ in range(40):
        damaged = bytearray(wasm)
        for _ in range(source.randrange(1, 6)):
            damaged[source.randrange(8, len(damaged))] = source.randrange(256)
        reply = client.deploy(name, bytes(damaged), method="PUT")
        assert reply.status in (200, 201) or (reply.status in (400, 413) and reply.kind), reply


def test_64_mib_of_zeros(client, name):
    for size, kinds in ((64 << 20, ("invalid_wasm", "body_too_large")), ((64 << 20) + 1, ("body_too_large", "module_too_large"))):
        try:
            reply = client.deploy(name, bytes(size))
        except (BrokenPipeError, ConnectionResetError):
            continue  # refused before all of it was sent
        assert reply.status in (400, 413) and reply.kind in kinds, reply


@pytest.mark.parametrize("text, names", [
    ('(import "env" "magic" (func))', ["env", "magic"]), ('(import "wasi_cuda" "lunch" (func (result i32)))', ["wasi_cuda", "lunch"]),
    ('(import "wasi_snapshot_preview1" "fd_write" (func (param i32)))', ["fd_write"]), ('(import "env" "memory" (memory 1))', ["memory"]),
    ('(import "wasi_cuda" "sync" (global i32))', ["sync"])])
def test_unknown_imports_are_named(client, name, text, names):
    reply = client.deploy(name, wat(f"(module {text})"))
    assert reply.status == 400 and reply.kind == "unknown_import", reply
    assert all(n in reply.message for n in names)


def test_a_near_name_is_suggested(client, name):
    assert "launch" in client.deploy(name, wat('(module (import "wasi_cuda" "lunch" (func (result i32))))')).message


@pytest.mark.parametrize("text, kinds", [
    ('(memory (export "memory") 5000)', ("tenant_quota_exceeded", "invalid_wasm", "start_failed")),
    ('(memory (export "memory") 65536)', ("tenant_quota_exceeded", "invalid_wasm", "start_failed")),
    ('(memory (export "memory") 1) (table 2000000 funcref)', ("tenant_quota_exceeded", "invalid_wasm", "start_failed"))])
def test_memory_and_tables_above_the_limit(client, name, text, kinds):
    reply = client.deploy(name, wat(f"(module {text})"))
    assert reply.status in (400, 429) and reply.kind in kinds, reply
    assert any(c.isdigit() for c in reply.message), "the limit has to be named"


def test_memory_above_the_functions_own_limit(client, name):
    wasm = wat('(module (memory (export "memory") 20))')
    reply = client.deploy(name, wasm, {"memory_bytes": 10 * 65536})
    assert reply.status in (400, 429), reply
    assert client.deploy(name, wasm, {"memory_bytes": 20 * 65536}).status == 201


@pytest.mark.parametrize("text, wanted", [
    ('(func $bad unreachable) (start $bad)', "unreachable"), ('(memory 1) (data (i32.const 65530) "too far away")', "data|out of bounds|memory"),
    ('(table 1 funcref) (func $f) (elem (i32.const 1) $f)', "elem|table|out of bounds"), ('(memory 1) (func $s (drop (i32.load (i32.const -1)))) (start $s)', "bounds"),
    ('(memory (export "memory") 1) (func (export "_initialize") unreachable)', "unreachable")])
def test_start_code_that_traps(client, name, text, wanted):
    import re
    reply = client.deploy(name, wat(f"(module {text})"))
    assert reply.status == 400 and reply.kind in ("start_failed", "invalid_wasm"), reply
    assert re.search(wanted, reply.message), reply
    assert client.get(f"/functions/{name}").kind == "not_found"


def test_start_code_that_never_ends(client, name):
    reply = client.deploy(name, wat("(module (func $s (loop $l br $l)) (start $s))"))
    assert reply.status == 400 and reply.kind == "start_failed", reply
    assert "ms" in reply.message or "time" in reply.message


def test_start_code_may_not_use_up_the_stack(client, name):
    assert client.deploy(name, wat("(module (func $s (call $s)) (start $s))")).kind == "start_failed"


@pytest.mark.parametrize("body", [
    "(i32.const 1)", "(drop)", "(local.get 5)", "(i32.add (i32.const 1) (i64.const 1))", "(br 7)", "(call 99)"], ids=str)
def test_code_that_does_not_validate(client, name, body):
    wasm = wat(f"(module (memory 1) (func (export \"f\") {body}))", "--no-check")
    reply = client.deploy(name, wasm)
    assert reply.status == 400 and reply.kind in ("invalid_wasm", "compile_failed"), reply


@pytest.mark.parametrize("depth", [1000, 200_000])
def test_deep_nesting(client, name, depth):
    code = b"\0" + b"\x02\x40" * depth + b"\x0b" * depth + b"\x0b"
    wasm = b"\0asm\1\0\0\0" + section(1, b"\1\x60\0\0") + section(3, b"\1\0") + section(10, b"\1" + leb(len(code)) + code)
    reply = client.deploy(name, wasm)
    assert reply.status == 201 or reply.kind in ("invalid_wasm", "module_too_large", "compile_failed"), reply


def test_a_function_with_many_locals(client, name):
    code = leb(1) + leb(4_000_000_000) + b"\x7f\x0b"
    wasm = b"\0asm\1\0\0\0" + section(1, b"\1\x60\0\0") + section(3, b"\1\0") + section(10, b"\1" + leb(len(code)) + code)
    reply = client.deploy(name, wasm)
    assert reply.status in (400, 413) and reply.kind in ("invalid_wasm", "module_too_large"), reply


def test_reserved_names_are_refused(client, name):
    reply = client.deploy(name, wat('(module (memory (export "tw:memory") 1))'))
    assert reply.status == 400 and reply.kind == "invalid_wasm", reply


def test_a_large_module_is_fine(client, name):
    wasm = big_module(200)
    assert client.deploy(name, wasm).status == 201
    value = 5
    for step in range(400):
        constant = (31 + step) % 60
        value = [lambda: value + constant, lambda: value * constant, lambda: value ^ constant, lambda: rotate_right(value, constant)][step % 4]()
        value &= 0xFFFFFFFF
    assert client.result(name, "run", [5]) % (1 << 32) == value


def rotate_right(value, count):
    count %= 32
    return ((value >> count) | (value << (32 - count))) & 0xFFFFFFFF
