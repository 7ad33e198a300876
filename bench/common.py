# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: alternating rounds, medians, a table, and a result file with the machine and every round."""
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = ROOT / "build/release/bin"
OUT = ROOT / "build/bench"
ROUNDS = int(os.environ.get("TW_ROUNDS", "5"))


def machine():
    model = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "?")
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release().split("-")[0], "date": datetime.date.today().isoformat()}


def version(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True)
        return (done.stdout + done.stderr).strip().splitlines()[0]
    except (OSError, IndexError):
        return "not there"


def alternate(contenders, rounds=ROUNDS):
    """Runs every contender once a round, in turn; {name: [figure a round]}. A contender is a function that returns a number or a dict."""
    figures = {name: [] for name in contenders}
    for number in range(rounds):
        names = list(contenders)
        for name in names if number % 2 == 0 else reversed(names):
            figures[name].append(contenders[name]())
    return figures


def median(values):
    return statistics.median(values)


def show(title, header, rows):
    print(f"\n{title}")
    table = [header] + [[cell if isinstance(cell, str) else f"{cell:.4g}" for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    for row in table:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)))


def save(name, versions, rounds, summary):
    path = ROOT / "bench/results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"name": name, "machine": machine(), "versions": versions, "summary": summary, "rounds": rounds}, indent=1) + "\n")
    print(f"  written: {path.relative_to(ROOT)}")
