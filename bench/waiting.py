#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What calls that wait cost: 10,000 calls sleep in poll_oneoff at once, over 100 HTTP/2 connections. How many threads, mappings and bytes the server
has then, and that all are answered. (They come within five seconds: what waits to begin is bounded, by tenant.)"""
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import urllib.request

from common import BIN, save, show, version
from gateway import wait_for

CALLS, CONNECTIONS, SLEEP_S, PORT = 10_000, 100, 15, 18086
WAT = f"""(module (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
 (memory (export "memory") 1)
 (func (export "_start") (i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const {SLEEP_S * 10**9}))
  (drop (call $poll (i32.const 0) (i32.const 256) (i32.const 1) (i32.const 512)))))"""


def look(pid):
    """What the process holds now."""
    proc = pathlib.Path(f"/proc/{pid}")
    text = urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics").read().decode()
    return {"calls": int(re.search(r"^tensor_wasm_http_requests_in_flight (\d+)", text, re.M).group(1)),
            "instances": int(re.search(r"^tensor_wasm_active_instances (\d+)", text, re.M).group(1)),
            "threads": len(list((proc / "task").iterdir())), "mappings": len((proc / "maps").read_text().splitlines()),
            "pss_kib": int(re.search(r"^Pss: +(\d+)", (proc / "smaps_rollup").read_text(), re.M).group(1))}


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        server = subprocess.Popen([BIN / "tensor-wasm", "serve", "--addr", f"127.0.0.1:{PORT}", "--data-dir", ":memory:", "--allow-dev-mode", "--threads", "4",
                                   "--max-instances", str(CALLS + 100)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(f"http://127.0.0.1:{PORT}/readyz")
            (folder / "s.wat").write_text(WAT)
            subprocess.run(["wat2wasm", folder / "s.wat", "-o", folder / "s.wasm"], check=True)
            subprocess.run([BIN / "tensor-wasm", "deploy", folder / "s.wasm", "--server", f"http://127.0.0.1:{PORT}"], check=True, stdout=subprocess.DEVNULL)
            (folder / "body").write_bytes(b"x")  # h2load takes no empty one
            rounds = [look(server.pid)]
            client = subprocess.Popen(["h2load", "-n", str(CALLS), "-c", str(CONNECTIONS), "-m", str(CALLS // CONNECTIONS), "-r", "20", "-d", folder / "body",
                                       "-H", "content-type: application/octet-stream", f"http://127.0.0.1:{PORT}/functions/s/invoke"],
                                      stdout=subprocess.PIPE, text=True)
            while client.poll() is None:
                time.sleep(1)
                rounds.append(look(server.pid))
            answered = int(re.search(r"(\d+) succeeded", client.stdout.read()).group(1))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
    most = max(rounds, key=lambda r: r["calls"])
    show(f"Calls that wait ({answered} of {CALLS} answered well)", ["when"] + list(most), [["before", *rounds[0].values()], ["all wait", *most.values()]])
    save("waiting", {"h2load": version("h2load", "--version")}, rounds, {"answered": answered, "before": rounds[0], "most": most})


if __name__ == "__main__":
    main()
