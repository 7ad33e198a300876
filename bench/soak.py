#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Soak: a mixed load for ten minutes (or `--seconds N`), and what the server holds meanwhile. Flat lines are what is wanted: each column's
last quarter is set against its second one. (Descriptors rise until the table of 512 compiled artifacts is full, memory under AddressSanitizer until
its quarantine is.) Every answer is checked; one that is wrong ends the run."""
import argparse
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))

from twtest.paths import PROGRAM
from twtest.server import Server
from twtest.soak import Soak, held, median_of

from common import save, show, version


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--threads", type=int, default=6)
    parser.add_argument("--memory-backend", choices=["owned", "pooling"], default="owned", help="pooling has no devices: nothing launches kernels")
    options = parser.parse_args()
    samples = []
    with tempfile.TemporaryDirectory(prefix="tw-soak-") as folder, \
            Server(pathlib.Path(folder), ["--memory-backend", options.memory_backend]) as server:
        soak = Soak(server, options.threads, has_devices=options.memory_backend == "owned").start()
        start = time.monotonic()
        while not samples or (time.monotonic() - start < options.seconds and not soak.failures):
            time.sleep(min(2, options.seconds / 40))
            samples.append(held(server.process.pid))
        soak.stop()
        time.sleep(2)
        idle = held(server.process.pid)
    quarter = len(samples) // 4
    early, late = median_of(samples[quarter:2 * quarter + 1]), median_of(samples[-quarter - 1:])
    rows = [[key, *(f"{n}" for n in (early[key], late[key])), f"{late[key] - early[key]:+d}",
             f"{max(s[key] for s in samples)}", f"{idle[key]}"] for key in early]
    show("held by the server and its compilers", ["", "second quarter", "last quarter", "change", "most", "idle after"], rows)
    print(f"\n{sum(soak.counts.values())} operations in {options.seconds} s: " + ", ".join(f"{k} {v}" for k, v in sorted(soak.counts.items())))
    for failure in soak.failures:
        print(f"FAILED {failure}")
    save("soak" if options.memory_backend == "owned" else "soak_pooling", {"tensor-wasm": version(PROGRAM, "--version")}, samples,
         {"seconds": options.seconds, "operations": soak.counts, "failures": soak.failures, "second quarter": early, "last quarter": late, "idle": idle})
    return 1 if soak.failures else 0


if __name__ == "__main__":
    sys.exit(main())
