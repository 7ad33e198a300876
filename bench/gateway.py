#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Requests a second and CPU a request: a trivial function on a fresh instance for every call, with memories of our own and in Wasmtime's
pooling allocator, against nginx `return 200`, HTTP/1.1 keep-alive, 64 connections; and the same over HTTP/2, 8 connections of 100 streams, against nghttpd's file of two bytes. The server has core 0,
the load generator (wrk, h2load) core 1."""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

from common import BIN, OUT, alternate, median, save, show, version

SECONDS = 3
WAT = '(module (func (export "f") (result i32) (i32.const 42)) (func (export "_start")))'


def cpu_seconds(pids):
    """User and system time of processes and their threads so far; of those that are there: a compiler's child may have ended."""
    ticks = 0
    for pid in pids:
        try:
            fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        except FileNotFoundError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def children(pid):
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += children(int(child))
    return found


def wait_for(url):
    for _ in range(400):
        try:
            return urllib.request.urlopen(url, timeout=1).read()
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"{url} does not answer")


def start(*command, **options):
    return subprocess.Popen(["taskset", "-c", "0", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


def start_ours(folder, port=18080, backend="owned"):
    # One loop and one worker: the one core is given away as a whole.
    server = start(BIN / "tensor-wasm", "serve", "--addr", f"127.0.0.1:{port}", "--data-dir", folder / backend, "--allow-dev-mode", "--threads", "1",
                   "--memory-backend", backend)
    wait_for(f"http://127.0.0.1:{port}/readyz")
    (folder / "f.wat").write_text(WAT)
    subprocess.run(["wat2wasm", folder / "f.wat", "-o", folder / "f.wasm"], check=True)
    subprocess.run([BIN / "tensor-wasm", "deploy", folder / "f.wasm", "--server", f"http://127.0.0.1:{port}"], check=True, stdout=subprocess.DEVNULL)
    return server, f"http://127.0.0.1:{port}/functions/f/invoke", f"http://127.0.0.1:{port}/healthz"


def start_nginx(folder):
    conf = folder / "nginx.conf"
    conf.write_text(f"""daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log /dev/null;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 1000000000;
  server {{ listen 127.0.0.1:18081; location / {{ return 200 "42"; }} }} }}
""")
    server = start(shutil.which("nginx", path="/usr/sbin:/usr/bin"), "-c", conf, "-p", folder)
    wait_for("http://127.0.0.1:18081/")
    return server, "http://127.0.0.1:18081/"


def load(url, server, post, cores="1", connections=64, headers=None, command=("wrk",)):
    script = OUT / "post.lua"
    script.write_text('wrk.method = "POST"\nwrk.body = ""\nwrk.headers["Content-Type"] = "application/octet-stream"\n')
    pinned = ["taskset", "-c", cores] if cores else []
    extra = [part for name, value in (headers or {}).items() for part in ("-H", f"{name}: {value}")]
    pids = children(server.pid)
    before = cpu_seconds(pids)
    done = subprocess.run([*pinned, *command, "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", *extra, *(["-s", str(script)] if post else []), url],
                          capture_output=True, text=True, check=True)
    used = cpu_seconds(pids) - before
    requests = int(re.search(r"(\d+) requests in", done.stdout).group(1))
    if "Non-2xx" in done.stdout:
        raise SystemExit(done.stdout)
    unit = {"us": 1, "ms": 1e3, "s": 1e6}
    latency = {p: float(v) * unit[u] for p, v, u in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)", done.stdout)}
    return {"rps": requests / SECONDS, "cpu_us": used / requests * 1e6, "p50_us": latency["50"], "p99_us": latency["99"]}


def start_nghttpd(folder):
    root = folder / "root"
    root.mkdir()
    (root / "x").write_text("42")
    server = start(shutil.which("nghttpd", path="/usr/sbin:/usr/bin"), "--no-tls", "-d", root, "-n", "1", "18082")
    for _ in range(400):  # it speaks HTTP/2 only
        try:
            socket.create_connection(("127.0.0.1", 18082), timeout=1).close()
            return server, "http://127.0.0.1:18082/x"
        except OSError:
            time.sleep(0.02)
    raise SystemExit("nghttpd does not answer")


def load_h2(url, server, post):
    pids = children(server.pid)
    body = OUT / "body"
    body.write_text("x")
    before = cpu_seconds(pids)
    done = subprocess.run(["taskset", "-c", "1", "h2load", "-t", "1", "-c", "8", "-m", "100", "-D", str(SECONDS), *(["-d", str(body)] if post else []), url],
                          capture_output=True, text=True, check=True)
    used = cpu_seconds(pids) - before
    requests = int(re.search(r"status codes: (\d+) 2xx", done.stdout).group(1))
    if not re.search(r" 0 failed, 0 errored, 0 timeout", done.stdout):
        raise SystemExit(done.stdout)
    return {"rps": requests / SECONDS, "cpu_us": used / requests * 1e6}


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        ours, invoke, health = start_ours(folder)
        pooling, pooled, _ = start_ours(folder, 18084, "pooling")
        nginx, static = start_nginx(folder)
        nghttpd, file = start_nghttpd(folder)
        try:
            figures = alternate({"invoke": lambda: load(invoke, ours, True), "invoke, pooling": lambda: load(pooled, pooling, True),
                                 "healthz": lambda: load(health, ours, False),
                                 "nginx return 200": lambda: load(static, nginx, False),
                                 "h2c invoke": lambda: load_h2(invoke, ours, True), "h2c healthz": lambda: load_h2(health, ours, False),
                                 "h2c nghttpd": lambda: load_h2(file, nghttpd, False)})
        finally:
            for server in (ours, pooling, nginx, nghttpd):
                server.send_signal(signal.SIGTERM)
                server.wait()
    summary = {n: {k: median([r[k] for r in rounds]) for k in rounds[0]} for n, rounds in figures.items()}
    one = {n: s for n, s in summary.items() if not n.startswith("h2c")}
    two = {n: s for n, s in summary.items() if n.startswith("h2c")}
    rows = [[n, s["rps"], s["cpu_us"], s["p50_us"], s["p99_us"], s["rps"] / one["nginx return 200"]["rps"]] for n, s in one.items()]
    show("Gateway, one core, 64 connections", ["contender", "requests/s", "CPU us/request", "p50 us", "p99 us", "x nginx"], rows)
    rows = [[n, s["rps"], s["cpu_us"], s["rps"] / two["h2c nghttpd"]["rps"]] for n, s in two.items()]
    show("HTTP/2, one core, 8 connections of 100 streams", ["contender", "requests/s", "CPU us/request", "x nghttpd"], rows)
    save("gateway", {"nginx": version("/usr/sbin/nginx", "-v"), "wrk": version("wrk", "-v"), "nghttpd": version("nghttpd", "--version")}, figures, summary)


if __name__ == "__main__":
    main()
