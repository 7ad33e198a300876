#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Snapshots of instances whose memory of 1, 16 and 128 MiB is all written: taking one, going on from it to the first answer, downloading it; beside
writing as many bytes to the same disk with an fsync."""
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

from common import ROUNDS, median, save, show, version
from start import ask, start

SIZES = (1, 16, 128)
MIB = 1 << 20


def module(folder, mib):
    """The bytes of a module that writes all of its memory and shows a byte of it."""
    text, wasm = folder / "f.wat", folder / "f.wasm"
    text.write_text(f'''(module (memory (export "memory") {mib * 16})
      (func (export "fill") (local i32) (loop (i32.store (local.get 0) (i32.add (local.get 0) (i32.const 7)))
        (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 4))) (i32.const {mib * MIB})))))
      (func (export "peek") (param i32) (result i32) (i32.load (local.get 0))))''')
    subprocess.run(["wat2wasm", text, "-o", wasm], check=True)
    return wasm.read_bytes()


def timed(work):
    began = time.perf_counter()
    return work(), (time.perf_counter() - began) * 1e3


def write_and_sync(folder, size):
    path = folder / "plain"
    data = os.urandom(size)

    def write():
        with open(path, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    _, ms = timed(write)
    path.unlink()
    return ms


def one_round(connection, folder, instance, mib):
    def post(path, body):
        return json.loads(ask(connection, "POST", path, json.dumps(body)))

    def go_on():
        restored = post("/instances/restore", {"digest": taken["digest"]})["id"]
        answer = post(f"/instances/{restored}/invoke", {"export": "peek", "args": [mib * MIB - 4]})
        if answer["result"] != mib * MIB - 4 + 7:
            raise SystemExit(f"the restored instance answered {answer}")
        return restored

    taken, take_ms = timed(lambda: post(f"/instances/{instance}/snapshot", {}))
    restored, restore_ms = timed(go_on)
    file, download_ms = timed(lambda: ask(connection, "GET", f"/snapshots/{taken['digest']}"))
    if len(file) != taken["size_bytes"]:
        raise SystemExit("the download is cut short")
    ask(connection, "DELETE", f"/instances/{restored}")
    ask(connection, "DELETE", f"/snapshots/{taken['digest']}")
    return {"take_ms": take_ms, "restore_to_answer_ms": restore_ms, "download_ms": download_ms, "plain_write_ms": write_and_sync(folder, len(file))}


def main():
    rounds, rows = {}, []
    with tempfile.TemporaryDirectory() as text:
        folder = pathlib.Path(text)
        server, connection, _ = start(folder)
        try:
            for mib in SIZES:
                ask(connection, "POST", f"/functions?name=f{mib}", module(folder, mib), "application/wasm")
                instance = json.loads(ask(connection, "POST", "/instances", json.dumps({"function": f"f{mib}"})))["id"]
                ask(connection, "POST", f"/instances/{instance}/invoke", json.dumps({"export": "fill", "args": []}))
                rounds[f"{mib} MiB"] = [one_round(connection, folder, instance, mib) for _ in range(ROUNDS)]
                ask(connection, "DELETE", f"/instances/{instance}")
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
    summary = {size: {key: round(median([r[key] for r in values]), 2) for key in values[0]} for size, values in rounds.items()}
    for size, values in summary.items():
        rows.append([size, *values.values()])
    show("snapshots, milliseconds", ["memory", *next(iter(summary.values()))], rows)
    save("snapshot", {"tensor-wasm": version(str(pathlib.Path(__file__).resolve().parent.parent / "build/release/bin/tensor-wasm"), "--version")}, rounds, summary)


if __name__ == "__main__":
    main()
