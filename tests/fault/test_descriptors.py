# SPDX-License-Identifier: Apache-2.0
"""Running out of descriptors: connections that are open go on, new ones are let go, nothing spins, and it passes."""
import contextlib
import http.client
import os
import pathlib
import resource
import socket
import time

import pytest

from twtest.server import Server, eventually


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def answers(connection):
    connection.request("GET", "/healthz")
    reply = connection.getresponse()
    reply.read()
    return reply.status == 200


@pytest.mark.parametrize("room", [0, 1, 10])
def test_without_descriptors_the_open_connections_go_on_and_it_passes(room, tmp_path):
    with Server(tmp_path) as server, contextlib.ExitStack() as stack:
        pid = server.process.pid
        kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        stack.callback(kept.close)
        assert answers(kept)
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_files(pid) + room, limits[1]))
        crowd = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30)) for _ in range(60)]
        before, start = cpu_seconds(pid), time.monotonic()
        while time.monotonic() - start < 1:
            assert answers(kept)
            time.sleep(0.05)
        assert cpu_seconds(pid) - before < 0.8 * (time.monotonic() - start)  # a loop that spins takes all the time there is
        assert not server.has_ended
        for s in crowd:
            s.close()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        eventually(lambda: server.client.get("/healthz").status == 200)
        assert server.client.metric("tensor_wasm_http_rejected_total") > 0  # how many it got to before they went is the machine's
        assert answers(kept)
