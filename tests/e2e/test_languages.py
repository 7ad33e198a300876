# SPDX-License-Identifier: Apache-2.0
"""Whole programs of other languages, with their own run-time systems and schedulers, on WASI preview 1. A compiler that is not installed is a skip."""
import json
import os
import shutil
import subprocess

import pytest

from twtest.build import GUESTS, OUT

CONFIG = {"args": ["one", "two"], "env": {"PLACE": "here"}, "timeout_ms": 20000}


def build(command, out, env=()):
    OUT.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env={**os.environ, **dict(env)}, timeout=500)
    if done.returncode:
        pytest.skip(f"{command[0]} does not build for WASI here: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    return out.read_bytes()


@pytest.mark.skipif(not shutil.which("go"), reason="Go is not installed")
def test_a_go_program_with_goroutines(client, name):
    out = OUT / "words-go.wasm"
    wasm = build(["go", "build", "-ldflags=-s -w", "-o", out, GUESTS / "words.go"], out,
                 {"GOOS": "wasip1", "GOARCH": "wasm", "GO111MODULE": "off", "GOTOOLCHAIN": "local", "GOFLAGS": ""})
    reply = client.deploy(name, wasm, CONFIG)
    assert reply.status == 201, reply
    for count in (1, 3):  # the second call on a fresh instance, whatever the first one's collector did
        reply = client.raw(name, json.dumps({f"k{i}": 14 for i in range(count)}).encode(), timeout=60)
        assert reply.status == 200, reply
        assert reply.json() == {"keys": [f"k{i}" for i in range(count)], "sum": 14 * count, "slept": True, "files": False, "args": ["one", "two"],
                                "place": "here"}
    reply = client.raw(name, b"nonsense", timeout=60)
    assert reply.kind == "guest_exit" and "invalid character" in reply.json()["error"]["stderr"]


@pytest.mark.skipif(not shutil.which("rustc"), reason="Rust is not installed")
def test_a_rust_program_that_panics_by_name(client, name):
    out = OUT / "words-rs.wasm"
    wasm = build(["rustc", "--edition", "2021", "-O", "--target", "wasm32-wasip1", "-o", out, GUESTS / "words.rs"], out)
    assert client.deploy(name, wasm, CONFIG).status == 201
    assert client.raw(name, b"b a b").body == b'{"a": 1, "b": 2} true false Ok("here")\n'
    error = client.raw(name, b"panic").json()["error"]
    assert error["kind"] == "guest_trap" and "as asked" in error["stderr"]
    assert "words::main" in [frame["function"] for frame in error["backtrace"]]
