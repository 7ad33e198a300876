# SPDX-License-Identifier: Apache-2.0
"""A short run of the mixed load that bench/soak.py keeps up for minutes: every answer is right, and afterwards nothing is left behind."""
import time

from twtest.paths import SLOW
from twtest.server import Server, eventually
from twtest.soak import Soak, held

SECONDS = 8


def test_a_mixed_load_leaves_nothing_behind(tmp_path):
    with Server(tmp_path) as server:
        soak = Soak(server, threads=4).start()
        most = held(server.process.pid, compilers=False)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and not soak.failures:
            time.sleep(0.5)
            now = held(server.process.pid, compilers=False)
            most = {key: max(value, now[key]) for key, value in most.items()}
        soak.stop()
        assert not soak.failures, soak.failures
        assert sum(soak.counts.values()) > 20, soak.counts
        # What the load opened is closed again: connections, arenas of instances that are not warm, files of functions.
        eventually(lambda: held(server.process.pid, compilers=False)["descriptors"] <= most["descriptors"] + 8, what="descriptors as few as under load")
        eventually(lambda: server.client.metric("tensor_wasm_active_instances") <= 64, what="no call running")
        end = held(server.process.pid, compilers=False)
        assert end["threads"] <= most["threads"] + 16 and end["mappings"] <= most["mappings"] + 400, (most, end)
        if SLOW == 1:  # sanitizers keep freed memory
            assert end["pss_kib"] <= most["pss_kib"] + 100 * 1024, (most, end)
        assert server.client.result("soak", "add", [20, 22]) == 42
