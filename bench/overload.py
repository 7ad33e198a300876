#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What overload does: a function that computes for some milliseconds, asked for at 0.7 times and at twice the rate that the server can serve (requests
are sent when they are due, at random times, whether or not others have been answered). The server has core 0, the load core 1. Once with a limit on the tenant's
concurrent calls and once with the defaults: what is accepted, how long that takes, and how soon the rest is refused."""
import asyncio
import pathlib
import random
import signal
import subprocess
import tempfile
import time

from common import BIN, OUT, alternate, median, save, show
from gateway import start, wait_for

LEAD_IN = 1  # seconds before anything counts: a queue may stand for a moment before calls are refused, else no burst would be let in
SECONDS = 4
SEED = 1
ROUNDS_OF_LOOP = 4_000_000  # some milliseconds of computing, so that the load generator is never what is short
LIMIT = 4
PORT = 18080
WAT = f"""(module (func (export "f") (result i64) (local $i i32) (local $x i64)
  (loop $l (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))
    (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $l (i32.lt_u (local.get $i) (i32.const {ROUNDS_OF_LOOP})))) (local.get $x)))"""
BODY = b'{"export":"f"}'
REQUEST = (b"POST /functions/f/invoke HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: " + str(len(BODY)).encode() +
           b"\r\n\r\n" + BODY)


class Pool:
    """Connections that are free; one is opened when none is."""

    def __init__(self):
        self.free = []

    async def ask(self):
        """(status, seconds) of one request."""
        begin = time.perf_counter()
        reader, writer = self.free.pop() if self.free else await asyncio.open_connection("127.0.0.1", PORT)
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        self.free.append((reader, writer))
        return int(head[9:12]), time.perf_counter() - begin


def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


async def capacity():
    """Requests a second that as many connections as the limit allows get through."""
    pool, done, end = Pool(), 0, time.perf_counter() + SECONDS / 2

    async def one():
        nonlocal done
        while time.perf_counter() < end:
            status, _ = await pool.ask()
            assert status == 200, status
            done += 1
    await asyncio.gather(*(one() for _ in range(LIMIT)))
    return done / (SECONDS / 2)


async def offer(rate):
    """Sends `rate` requests a second; what became of them."""
    pool, tasks, begin = Pool(), [], time.perf_counter()
    due, leading = 0.0, 0
    arrivals = random.Random(SEED)
    while (due := due + arrivals.expovariate(rate)) < LEAD_IN + SECONDS:
        wait = begin + due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        leading += due < LEAD_IN
        tasks.append(asyncio.create_task(pool.ask()))
    answers = (await asyncio.gather(*tasks))[leading:]
    for _, writer in pool.free:
        writer.close()
    good = [seconds for status, seconds in answers if status == 200]
    bad = [seconds for status, seconds in answers if status in (429, 503)]
    assert len(good) + len(bad) == len(answers), {status for status, _ in answers}
    return {"offered_rps": rate, "accepted_rps": len(good) / SECONDS, "refused_rps": len(bad) / SECONDS,
            "accepted_p50_ms": 1e3 * quantile(good, 0.5), "accepted_p99_ms": 1e3 * quantile(good, 0.99),
            "refused_p50_ms": 1e3 * quantile(bad, 0.5), "refused_p99_ms": 1e3 * quantile(bad, 0.99)}


def limit(value):
    subprocess.run([BIN / "tensor-wasm", "admin", "tenant", "set", "0", f"concurrent_invocations={value}", "--server", f"http://127.0.0.1:{PORT}"],
                   check=True, stdout=subprocess.DEVNULL)


def run(factor, limited, best):
    limit(LIMIT if limited else "unlimited")
    return asyncio.run(offer(factor * best))


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        server = start(BIN / "tensor-wasm", "serve", "--addr", f"127.0.0.1:{PORT}", "--data-dir", folder / "data", "--allow-dev-mode", "--threads", "1")
        try:
            wait_for(f"http://127.0.0.1:{PORT}/readyz")
            (folder / "f.wat").write_text(WAT)
            subprocess.run(["wat2wasm", folder / "f.wat", "-o", folder / "f.wasm"], check=True)
            subprocess.run([BIN / "tensor-wasm", "deploy", folder / "f.wasm", "--server", f"http://127.0.0.1:{PORT}"], check=True,
                           stdout=subprocess.DEVNULL)
            best = median([asyncio.run(capacity()) for _ in range(3)])
            print(f"capacity: {best:.0f} requests/s")
            figures = alternate({f"{factor} x, {'limit ' + str(LIMIT) if limited else 'defaults'}": lambda f=factor, l=limited: run(f, l, best)
                                 for limited in (True, False) for factor in (0.7, 2)})
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
    summary = {n: {k: median([r[k] for r in rounds]) for k in rounds[0]} for n, rounds in figures.items()}
    rows = [[n, *s.values()] for n, s in summary.items()]
    show("Overload, one core", ["contender", "offered/s", "accepted/s", "refused/s", "accepted p50 ms", "p99 ms", "refused p50 ms", "p99 ms"], rows)
    save("overload", {}, figures, {"capacity_rps": best, **summary})


if __name__ == "__main__":
    import os
    os.sched_setaffinity(0, {1})
    main()
