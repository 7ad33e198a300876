#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The server's start with 1,000 functions in the store, from the process's beginning to its first answer, with the CPU time it took; the
first call of a function after it; the first deploy, whose compiler process may still be starting; and other cold deploys to their first
answers, each beside the time that the compiler took for its module, with the store on the disk and in memory. Modules are made before the
server starts: a program that has just ended and files that it has just written would be part of the deploy."""
import http.client
import itertools
import json
import pathlib
import re
import signal
import statistics
import subprocess
import tempfile
import time

from common import BIN, ROUNDS, median, save, show, version
from gateway import cpu_seconds

FUNCTIONS, PORT = 1000, 18083
DEPLOYS, PAUSE_S = 25, 0.05  # a round; as people deploy, one after the other
numbers = itertools.count(100_000)  # of modules that nobody has seen


def module(folder, number):
    """The bytes of a small module that answers its number."""
    text, wasm = folder / "f.wat", folder / "f.wasm"
    text.write_text(f'(module (memory (export "memory") 1) (func (export "f") (result i32) i32.const {number}))')
    subprocess.run(["wat2wasm", text, "-o", wasm], check=True)
    return wasm.read_bytes()


def ask(connection, method, path, body=None, kind="application/json"):
    connection.request(method, path, body, {"Content-Type": kind})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status >= 300:
        raise SystemExit(f"{method} {path}: {answer.status} {text[:200]}")
    return text


def start(folder):
    """The process, a connection to it, and the ms until it answered."""
    began = time.perf_counter()
    server = subprocess.Popen([BIN / "tensor-wasm", "serve", "--addr", f"127.0.0.1:{PORT}", "--data-dir", folder / "data", "--allow-dev-mode"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
            ask(connection, "GET", "/healthz")
            return server, connection, (time.perf_counter() - began) * 1e3
        except OSError:
            time.sleep(0.0005)


def stop(server):
    server.send_signal(signal.SIGTERM)
    server.wait()


def timed(connection, method, path, body, kind="application/json"):
    """The ms from the request's first byte to the answer's last; made and read by hand, so that they are the server's and not a library's."""
    body = body if isinstance(body, bytes) else body.encode()
    request = f"{method} {path} HTTP/1.1\r\nHost: h\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    answer = b""
    began = time.perf_counter()
    connection.sock.sendall(request)
    while not answer or (whole := re.search(rb"(?i)content-length: (\d+).*?\r\n\r\n", answer, re.S)) is None or len(answer) < whole.end() + int(whole.group(1)):
        answer += connection.sock.recv(65536)
    taken_ms = (time.perf_counter() - began) * 1e3
    if not answer.startswith(b"HTTP/1.1 2"):
        raise SystemExit(f"{method} {path}: {answer[:200]}")
    return taken_ms


def compile_seconds(connection):
    text = ask(connection, "GET", "/metrics").decode()
    found = re.search(r'^tensor_wasm_compile_seconds_sum\{kind="wasm"\} (\S+)', text, re.M)
    return float(found.group(1)) if found else 0  # nothing was compiled since the start


def deploy_to_answer(connection, wasm):
    """The ms from sending a module that nobody has seen to the answer of its first call."""
    taken_ms = timed(connection, "PUT", "/functions/cold", wasm, "application/wasm")
    return taken_ms + timed(connection, "POST", "/functions/cold/invoke", json.dumps({"export": "f"}))


def one_deploy(connection, wasm):
    time.sleep(PAUSE_S)
    before = compile_seconds(connection)
    deploy_ms = deploy_to_answer(connection, wasm)
    compile_ms = (compile_seconds(connection) - before) * 1e3
    return {"cold_deploy_to_answer_ms": deploy_ms, "of_it_compiling_ms": compile_ms, "beyond_compiling_ms": deploy_ms - compile_ms}


def modules(count):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        return [module(pathlib.Path(name), next(numbers)) for _ in range(count)]


def quartiles(deploys):
    first, _, third = statistics.quantiles([d["beyond_compiling_ms"] for d in deploys], n=4)
    return {"beyond_compiling_first_quartile_ms": first, "beyond_compiling_third_quartile_ms": third}


def one_without_disk():
    """What a deploy takes beyond compiling where nothing waits for a disk."""
    first, *others = modules(1 + DEPLOYS)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        server, connection, _ = start(pathlib.Path(name))
        try:
            deploy_to_answer(connection, first)
            return {"beyond_compiling_no_disk_ms": median([one_deploy(connection, wasm)["beyond_compiling_ms"] for wasm in others])}
        finally:
            stop(server)


def one_round(folder, number):
    first, *others = modules(1 + DEPLOYS)
    server, connection, start_ms = start(folder)
    try:
        cpu_ms = cpu_seconds([server.pid]) * 1e3
        call = json.dumps({"export": "f"})
        first_ms = timed(connection, "POST", f"/functions/f{number}/invoke", call)
        first_deploy_ms = deploy_to_answer(connection, first)
        deploys = [one_deploy(connection, wasm) for wasm in others]
        return {"start_ms": start_ms, "start_cpu_ms": cpu_ms, "first_call_ms": first_ms, "first_deploy_to_answer_ms": first_deploy_ms} | {
            key: median([d[key] for d in deploys]) for key in deploys[0]} | quartiles(deploys)
    finally:
        stop(server)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        server, connection, _ = start(folder)
        same = [module(folder, number) for number in range(20)]
        for number in range(FUNCTIONS):
            ask(connection, "POST", f"/functions?name=f{number}", same[number % len(same)], "application/wasm")
        stop(server)
        rounds = [one_round(folder, number) | one_without_disk() for number in range(ROUNDS)]
    summary = {key: median([r[key] for r in rounds]) for key in rounds[0]}
    show(f"milliseconds, {FUNCTIONS} functions in the store (median of {ROUNDS} rounds)", ["", "ms"], [[k, v] for k, v in summary.items()])
    save("start", {"tensor-wasm": version(BIN / "tensor-wasm", "version")}, rounds, summary)


if __name__ == "__main__":
    main()
