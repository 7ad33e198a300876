# SPDX-License-Identifier: Apache-2.0
"""Tenants whose kernels never end, each in its own way, at once: every one is ended by the time limit of a launch, and the next tenant's kernels run."""
import concurrent.futures
import re
import subprocess

import pytest

from test_cuda import IDENTITY, LOOP, MUTUAL, PRINTF, SLEEPING, WAITING, code_of, kernel, words_of
from twtest.build import guest
from twtest.client import Client
from twtest.paths import PROGRAM, SLOW
from twtest.server import clean_environment, eventually

NEIGHBOUR = 80
# A line in every round, and no end.
FLOOD = PRINTF.replace("    {\n    .param .b64 f;", "AGAIN:\n    {\n    .param .b64 f;").replace("    ret;\n}\n", "    bra AGAIN;\n}\n")
# Warps take turns at a barrier, for ever.
BARRIERS = kernel("AGAIN:\n    bar.sync 0;\n    bra AGAIN;")
# The second warp waits at a barrier that the first, which spins, never comes to.
HALF = kernel("    setp.lt.u32 %p1, %r4, 32;\n    @%p1 bra AGAIN;\n    bar.sync 0;\n    ret;\nAGAIN:\n    ld.volatile.global.u32 %r5, [%d1];\n    setp.ne.u32 %p2, %r5, 77;\n    @%p2 bra AGAIN;")
STUCK = {"loop": LOOP, "waiting": WAITING, "sleeping": SLEEPING, "mutual": MUTUAL, "flood": FLOOD, "barriers": BARRIERS, "half": HALF}


def run(port, tenant, text):
    reply = Client(port, tenant=tenant).raw("device", text.encode(), "run", timeout=120)
    assert reply.status == 200, reply
    return reply.body.decode(errors="replace")


@pytest.mark.stops_kernels
def test_stuck_kernels_of_many_tenants_end_and_a_neighbour_is_served(shared):
    tenants = [NEIGHBOUR, *range(NEIGHBOUR + 1, NEIGHBOUR + 1 + len(STUCK))]
    for tenant in tenants:
        assert Client(shared.port, tenant=tenant).deploy("device", guest("device.c")).status == 201
    with concurrent.futures.ThreadPoolExecutor(len(STUCK)) as pool:
        told = {name: pool.submit(run, shared.port, tenant, text) for tenant, (name, text) in zip(tenants[1:], STUCK.items())}
        for _ in range(5):
            assert words_of(run(shared.port, NEIGHBOUR, IDENTITY)) == list(range(64))
    for name, answer in told.items():
        assert code_of(answer.result()) == -5 and "killed by the time limit of 2000 ms" in answer.result(), (name, answer.result())
    for tenant in tenants:
        assert words_of(run(shared.port, tenant, IDENTITY)) == list(range(64))


@pytest.mark.stops_kernels
def test_a_kernel_that_prints_without_end_is_told_in_part(shared):
    client = Client(shared.port, tenant=NEIGHBOUR)
    assert client.deploy("device", guest("device.c")).status == 201
    job = client.request("POST", "/functions/device/invoke-async?export=run", FLOOD, {"Content-Type": "text/plain"}).json()["job_id"]
    told = eventually(lambda: (t := client.get(f"/jobs/{job}").json())["state"] == "done" and t, 60, "the job's end")
    lines = told["stderr"].splitlines()
    lost = [line for line in lines if line not in ("<0>", "<1>")]
    assert lost and all(re.fullmatch(r"\(\d+ more lines were lost\)", line) for line in lost), lost
    assert 1_000 < len(lines) and len(told["stderr"]) <= 70_000


@pytest.mark.stops_kernels
def test_a_kernel_run_alone_ends_at_its_time_limit(tmp_path):
    (tmp_path / "k.ptx").write_text(LOOP)
    done = subprocess.run([PROGRAM, "kernel", "run", tmp_path / "k.ptx", "--entry", "k", "--grid", "2", "--block", "32", "--kernel-timeout-ms", "200", "--device", "cpu",
                           f"out:256:{tmp_path / 'out'}"], capture_output=True, text=True, timeout=60 * SLOW, env=clean_environment())
    assert done.returncode == 1 and "launch_failed: kernel 'k': killed by the time limit of 200 ms; launch less work at a time" in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()
