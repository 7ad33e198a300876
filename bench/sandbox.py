# SPDX-License-Identifier: Apache-2.0
"""What it costs that no kernel reaches outside its instance's memory: the kernels of kernels.py with every address masked, as always, and with --unconfined, in turn;
sizes that lie in the cache, where it would show most. That kernels can be stopped costs nothing while they run: it is done by a signal. TW_KERNELS=a,b takes some."""
import os

from common import alternate, median, save, show
from kernels import CASES, TARGET_US, build, call, contender, geomean


def measure(name, n):
    command, _ = contender("ours", name, n, CASES[name][2](n))
    repeat = int(min(max(TARGET_US / max(call(*command(5)), 1), 5), 50000))
    return alternate({"confined": lambda: call(*command(repeat)), "unconfined": lambda: call(*command(repeat), "--unconfined")})


def main():
    build()
    chosen = os.environ.get("TW_KERNELS", ",".join(CASES)).split(",")
    table, rounds = [], {}
    for name in chosen:
        for n in CASES[name][4][:2]:
            figures = rounds[f"{name} {n}"] = measure(name, n)
            times = {how: median(values) for how, values in figures.items()}
            table.append([f"{name} {n}", times["confined"], times["unconfined"], times["confined"] / times["unconfined"]])
    show("Kernels with and without the sandbox, us a launch", ["kernel n", "confined", "unconfined", "ratio"], table)
    ratio = geomean([row[3] for row in table])
    print(f"  geomean of the ratios: {ratio:.3f}")
    if chosen == list(CASES):
        save("sandbox", {}, rounds, {"geomean": ratio} | {row[0]: row[3] for row in table})


if __name__ == "__main__":
    main()
