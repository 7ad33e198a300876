#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What happens to one tenant's calls while another tenant spins: p50 and p99 of a trivial function, one connection, with 0, 1, 8 and 32 calls of
another tenant that compute without end. Server and spinners share all cores with the load generator, which has a real-time priority where it may
have one (as root), as a client elsewhere would not wait for this machine's cores."""
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

from common import BIN, OUT, alternate, median, save, show, version
from gateway import WAT, load, wait_for

SPIN = '(module (func (export "_start") (loop $l (br $l))))'
PORT = 18082
BASE = f"http://127.0.0.1:{PORT}"
SPINNERS = [0, 1, 8, 32]
REAL_TIME = ["chrt", "--fifo", "1"]
LOAD = [*(REAL_TIME if subprocess.run([*REAL_TIME, "true"], capture_output=True).returncode == 0 else []), "wrk"]


def deploy(folder, name, wat, tenant):
    (folder / f"{name}.wat").write_text(wat)
    subprocess.run(["wat2wasm", folder / f"{name}.wat", "-o", folder / f"{name}.wasm"], check=True)
    subprocess.run([BIN / "tensor-wasm", "deploy", folder / f"{name}.wasm", "--server", BASE, "--tenant", str(tenant)], check=True,
                   stdout=subprocess.DEVNULL)


def spin(stop):
    """Keeps one call of tenant 1 computing; each is ended by its deadline."""
    while not stop.is_set():
        request = urllib.request.Request(f"{BASE}/functions/spin/invoke", data=b"", method="POST",
                                         headers={"X-TensorWasm-Tenant": "1", "X-TensorWasm-Deadline-Ms": "1000", "Content-Type": "application/octet-stream"})
        try:
            urllib.request.urlopen(request, timeout=30).read()
        except urllib.error.HTTPError as error:
            assert error.code == 504, error.read()


def with_spinners(server, count):
    stop = threading.Event()
    threads = [threading.Thread(target=spin, args=(stop,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    time.sleep(0.3 if count else 0)
    try:
        return load(f"{BASE}/functions/f/invoke", server, True, cores=None, connections=1, headers={"X-TensorWasm-Tenant": "2"}, command=LOAD)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        server = subprocess.Popen([BIN / "tensor-wasm", "serve", "--addr", f"127.0.0.1:{PORT}", "--data-dir", folder / "data", "--allow-dev-mode",
                                   "--queue-wait-ms", "0"], # else most of the spinning calls would be refused, not run
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(f"{BASE}/readyz")
            deploy(folder, "f", WAT, 2)
            deploy(folder, "spin", SPIN, 1)
            figures = alternate({f"{count} spinning": lambda count=count: with_spinners(server, count) for count in SPINNERS})
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
    summary = {n: {k: median([r[k] for r in rounds]) for k in ("rps", "p50_us", "p99_us")} for n, rounds in figures.items()}
    alone = summary["0 spinning"]
    rows = [[n, s["rps"], s["p50_us"], s["p99_us"], (s["p99_us"] - alone["p99_us"]) / 1e3] for n, s in summary.items()]
    show(f"A tenant's trivial call while another spins, {os.cpu_count()} cores", ["contender", "requests/s", "p50 us", "p99 us", "p99 grows by ms"], rows)
    save("fairness", {"wrk": version("wrk", "-v")}, figures, summary)


if __name__ == "__main__":
    main()
