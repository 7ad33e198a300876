#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What overload does: a function that computes for some milliseconds and a trivial one, asked for at 0.7 times and at twice the rate that the server can
serve (bench/offer.c: requests are sent when they are due, at random times, whether or not others have been answered). The server has core 0, the load core
1. Calls that compute once with a limit on the tenant's concurrent ones and once with the defaults; trivial ones beside nginx `return 200`, each at 0.7 and 1.5 times its
own capacity (a client has no more time for twice). What is accepted, how long that takes, how soon the rest is refused, and how late the client itself was."""
import json
import pathlib
import signal
import subprocess
import tempfile

from common import BIN, OUT, ROOT, alternate, median, save, show, version
from gateway import load, start, start_nginx, wait_for

LEAD_IN = 1  # seconds before anything counts: a queue may stand for a moment before calls are refused, else no burst would be let in
SECONDS = 4
SEED = 1
ROUNDS_OF_LOOP = 4_000_000  # some milliseconds of computing
LIMIT = 4
CONNECTIONS = 512
PORT, NGINX_PORT = 18080, 18081
WAT = f"""(module (func (export "f") (result i64) (local $i i32) (local $x i64)
  (loop $l (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))
    (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $l (i32.lt_u (local.get $i) (i32.const {ROUNDS_OF_LOOP})))) (local.get $x))
  (func (export "_start")))"""
COMPUTE = (PORT, "POST", "/functions/f/invoke", "application/json", '{"export":"f"}')
TRIVIAL = (PORT, "POST", "/functions/t/invoke", "application/octet-stream", "")
NGINX = (NGINX_PORT, "GET", "/", "text/plain", "")


def offer(target, rate):
    """Sends `rate` requests a second; what became of them."""
    port, *request = target
    done = subprocess.run(["taskset", "-c", "1", ROOT / "build/release/bench/bench_offer", *map(str, (port, rate, LEAD_IN, SECONDS, CONNECTIONS, SEED)), *request],
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    told = json.loads(done.stdout)
    figures = {"offered_rps": rate, "accepted_rps": told["good"]["count"] / SECONDS, "refused_rps": told["bad"]["count"] / SECONDS}
    for name, key in (("accepted", "good"), ("refused", "bad"), ("sent_late", "late")):
        figures |= {f"{name}_{q}_ms": told[key][f"{q}_us"] / 1e3 for q in ("p50", "p99")}
    return figures


def capacity(url, server, post):
    """Requests a second that 64 connections get through (wrk)."""
    return median([load(url, server, post)["rps"] for _ in range(3)])


def compute_capacity():
    """The same of calls that compute: what is accepted when far too many are offered."""
    return median([offer(COMPUTE, 1000)["accepted_rps"] for _ in range(3)])


def limit(value):
    subprocess.run([BIN / "tensor-wasm", "admin", "tenant", "set", "0", f"concurrent_invocations={value}", "--server", f"http://127.0.0.1:{PORT}"],
                   check=True, stdout=subprocess.DEVNULL)


def compute(factor, limited, best):
    limit(LIMIT if limited else "unlimited")
    return offer(COMPUTE, factor * best)


def contenders(best, best_trivial, best_nginx):
    computing = {f"computes, {factor} x, {'limit ' + str(LIMIT) if limited else 'defaults'}": lambda f=factor, l=limited: compute(f, l, best)
                 for limited in (True, False) for factor in (0.7, 2)}
    trivial = {f"{name}, {factor} x": lambda t=target, r=factor * most: offer(t, r)
               for factor in (0.7, 1.5) for name, target, most in (("trivial", TRIVIAL, best_trivial), ("nginx", NGINX, best_nginx))}
    return computing | trivial


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cmake", "--build", "--preset", "release", "--target", "bench_offer"], cwd=ROOT, check=True, capture_output=True)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        server = start(BIN / "tensor-wasm", "serve", "--addr", f"127.0.0.1:{PORT}", "--data-dir", folder / "data", "--allow-dev-mode", "--threads", "1")
        nginx = None
        try:
            nginx, nginx_url = start_nginx(folder)
            wait_for(f"http://127.0.0.1:{PORT}/readyz")
            (folder / "f.wat").write_text(WAT)
            subprocess.run(["wat2wasm", folder / "f.wat", "-o", folder / "f.wasm"], check=True)
            for function in ("f", "t"):
                subprocess.run([BIN / "tensor-wasm", "deploy", folder / "f.wasm", "--name", function, "--server", f"http://127.0.0.1:{PORT}"], check=True,
                               stdout=subprocess.DEVNULL)
            best = {"computes": compute_capacity(), "trivial": capacity(f"http://127.0.0.1:{PORT}/functions/t/invoke", server, True),
                    "nginx": capacity(nginx_url, nginx, False)}
            print("capacity, requests/s:", {n: round(v) for n, v in best.items()})
            figures = alternate(contenders(*best.values()))
        finally:
            for process in filter(None, (server, nginx)):
                process.send_signal(signal.SIGTERM)
                process.wait()
    summary = {n: {k: median([r[k] for r in rounds]) for k in rounds[0]} for n, rounds in figures.items()}
    rows = [[n, *s.values()] for n, s in summary.items()]
    show("Overload, one core", ["contender", "offered/s", "accepted/s", "refused/s", "accepted p50 ms", "p99 ms", "refused p50 ms", "p99 ms", "sent late p50 ms", "p99 ms"],
         rows)
    save("overload", {"nginx": version("/usr/sbin/nginx", "-v"), "wrk": version("wrk", "-v")}, figures, {"capacity_rps": best, **summary})


if __name__ == "__main__":
    main()
