#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Warm instances: how long many take to make, and what each costs in memory (PSS, page tables) and mappings; and the same of instances
that keep their state, each after a call that wrote one page, without that page. TW_INSTANCES says how many (10,000); the server needs about 4 mappings each."""
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import urllib.request

from common import BIN, ROUNDS, median, save, show, version
from gateway import wait_for

COUNT = int(os.environ.get("TW_INSTANCES", "10000"))
USED = min(COUNT, 2000)
PORT = 18082
WAT = ('(module (memory (export "memory") 17) (data (i32.const 1024) "image") (global $sp (mut i32) (i32.const 65536))'
       ' (func (export "f") (result i32) (i32.store (i32.const 65000) (i32.const 7)) (i32.load8_u (i32.const 1024))))')


def ask(path, value):
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", json.dumps(value).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=600))


def ask_many(path_of, bodies):
    """Over one connection."""
    connection, answers = http.client.HTTPConnection("127.0.0.1", PORT, timeout=600), []
    for number, body in enumerate(bodies):
        connection.request("POST", path_of(number), json.dumps(body), {"Content-Type": "application/json"})
        answers.append(json.load(connection.getresponse()))
    connection.close()
    return answers


def look(pid):
    """KiB and mappings of a process."""
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return {"pss_kib": int(re.search(r"^Pss:\s+(\d+)", rollup, re.M).group(1)),
            "page_tables_kib": int(re.search(r"^VmPTE:\s+(\d+)", status, re.M).group(1)),
            "mappings": pathlib.Path(f"/proc/{pid}/maps").read_text().count("\n")}


def each(after, before, count):
    return {key: (after[key] - before[key]) / count for key in after}


def one_round(folder):
    server = subprocess.Popen([BIN / "tensor-wasm", "serve", "--addr", f"127.0.0.1:{PORT}", "--data-dir", folder / "data", "--allow-dev-mode",
                               "--warm-per-function", str(COUNT), "--max-warm", "0", "--max-instances", str(COUNT + USED + 100), "--warm-idle-ms",
                               "3600000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{PORT}/readyz")
        subprocess.run([BIN / "tensor-wasm", "deploy", folder / "f.wasm", "--replace", "--server", f"http://127.0.0.1:{PORT}"], check=True,
                       stdout=subprocess.DEVNULL)
        ask("/functions/f/invoke", {"export": "f"})
        before, start = look(server.pid), time.monotonic()
        warm = ask("/functions/f/prewarm", {"count": COUNT})["warm"]
        seconds = time.monotonic() - start
        if warm < COUNT:
            raise SystemExit(f"only {warm} of {COUNT} instances could be made; see tensor-wasm doctor")
        warm_each = each(look(server.pid), before, warm)
        before = look(server.pid)
        made = ask_many(lambda _: "/instances", [{"function": "f"}] * USED)
        ask_many(lambda i: f"/instances/{made[i]['id']}/invoke", [{"export": "f"}] * USED)
        used_each = each(look(server.pid), before, USED)
        used_each["pss_kib"] -= 4  # the page that each wrote
        return {"instances": warm, "us_to_make": seconds / warm * 1e6, "warm": warm_each, "used": used_each}
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "f.wat").write_text(WAT)
        subprocess.run(["wat2wasm", folder / "f.wat", "-o", folder / "f.wasm"], check=True)
        rounds = [one_round(folder) for _ in range(ROUNDS)]
    summary = {"us_to_make": median([r["us_to_make"] for r in rounds]),
               **{kind: {key: median([r[kind][key] for r in rounds]) for key in rounds[0][kind]} for kind in ("warm", "used")}}
    show(f"each instance (median of {ROUNDS} rounds; made in {summary['us_to_make']:.3g} µs)", ["", "PSS KiB", "page tables KiB", "mappings"],
         [[f"{COUNT} warm ones", *summary["warm"].values()], [f"{USED} that ran a call", *summary["used"].values()]])
    save("density", {"tensor-wasm": version(BIN / "tensor-wasm", "version")}, rounds, summary)


if __name__ == "__main__":
    main()
