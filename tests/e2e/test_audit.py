# SPDX-License-Identifier: Apache-2.0
"""The audit log: every route that changes something is in it, and a disk that is stuck or full costs lines, never requests."""
import concurrent.futures
import http.client
import json
import os
import pathlib
import re
import subprocess

import pytest

from twtest.build import wat
from twtest.client import Client
from twtest.paths import PROGRAM, ROOT, SLOW
from twtest.server import Server, clean_environment, eventually

ADD = wat('(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))')
ADMIN = "admin-token-0123456789"
TOKENS = {"TENSOR_WASM_API_TOKENS": f"{ADMIN}:tenant=*:role=admin"}


def routes():
    text = (ROOT / "src/http/routes.def").read_text()
    return [(method, template) for method, template, access in re.findall(r'^ROUTE\("(\w+)", "([^"]+)", \w+, (\w+),', text, re.M)
            if access == "TOKEN"]


def is_call(template):
    return template.rsplit("/", 1)[1].startswith("invoke") or template.startswith("/v1/")


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def verify(*arguments):
    return subprocess.run([str(PROGRAM), "admin", "audit", "verify", *map(str, arguments)], capture_output=True, text=True,
                          env=clean_environment({}))


def test_every_route_that_changes_something_is_in_the_log(tmp_path):
    log = tmp_path / "audit"
    with Server(tmp_path / "server", ["--audit-log", f"file:{log}"], dev_mode=False, env=TOKENS) as server:
        admin, stranger = Client(server.port, 7, ADMIN), Client(server.port, 7, "wrong-token-0123456789")
        wanted, refused = [], []
        for method, template in routes():
            path, body = re.sub(r":\w+", "12", template), None if method == "GET" else b"{"
            admin.request(method, path, body, {"Content-Type": "application/json"})
            if method != "GET" and not is_call(template):
                wanted.append(f"{method} {template}")
            assert stranger.request(method, path, body).status == 401
            refused.append(f"{method} {template}")
        assert len(wanted) >= 7
        eventually(lambda: len(lines_of(log)) >= 1 + len(wanted) + len(refused), what="all lines")
        start, *told = lines_of(log)
        assert (start["actor"], start["action"], start["outcome"]) == ("serve", "start", "ok")
        assert [e["action"] for e in told if e["outcome"] == "unauthorized"] == refused
        changes = [e for e in told if e["outcome"] != "unauthorized"]
        assert [e["action"] for e in changes] == wanted
        for entry in told:
            assert set(entry) >= {"time", "request_id", "actor", "tenant", "action", "object", "outcome", "status", "latency_us", "peer"}
            assert re.fullmatch(r"20\d\d-\d\d-\d\dT[\d:.]+Z", entry["time"]) and len(entry["request_id"]) == 16
        assert {e["object"] for e in changes if ":id" in e["action"]} == {"12"}
    end = lines_of(log)[-1]
    assert (end["actor"], end["action"], end["outcome"]) == ("SIGTERM", "stop", "ok") and end["latency_us"] > 0
    done = verify(log)
    assert done.returncode == 0 and f"{len(told) + 2} lines" in done.stdout


def test_a_start_that_fails_is_in_the_log(tmp_path):
    log = tmp_path / "audit"
    with Server(tmp_path / "server") as server:
        other = subprocess.run([str(PROGRAM), "serve", "--addr", f"127.0.0.1:{server.port}", "--data-dir", ":memory:", "--allow-dev-mode",
                                "--audit-log", f"file:{log}"], capture_output=True, text=True, timeout=60 * SLOW, env=clean_environment({}))
    assert other.returncode != 0 and str(server.port) in other.stderr
    assert [(e["actor"], e["action"], e["outcome"] == "ok") for e in lines_of(log)] == [("serve", "start", False)]


def test_a_start_that_fails_leaves_the_chain_of_the_one_that_runs_whole(tmp_path):
    log = tmp_path / "audit"
    with Server(tmp_path / "server", ["--audit-log", f"file:{log}"]) as server:
        assert server.client.deploy("f", ADD).status == 201
        subprocess.run([str(PROGRAM), "serve", "--addr", f"127.0.0.1:{server.port}", "--data-dir", ":memory:", "--allow-dev-mode",
                        "--audit-log", f"file:{log}"], capture_output=True, timeout=60 * SLOW, env=clean_environment({}))
        assert server.client.request("DELETE", "/functions/f").status == 204
        server.stop()
    assert [(e["seq"], e["action"]) for e in lines_of(log)] == [(1, "start"), (2, "POST /functions"), (3, "start"), (4, "DELETE /functions/:id"), (5, "stop")]
    assert verify(log).returncode == 0


@pytest.mark.parametrize("option, content, outcome", [("--tokens-file", "not a digest", "invalid_request"), ("--tokens-file", None, "invalid_request"),
                                                      ("--kernel-keys-file", "not a key", "invalid_request"), ("--otlp-endpoint", "ftp://x", "invalid_request")])
def test_settings_that_stop_a_start_are_in_the_log(tmp_path, option, content, outcome):
    log, file = tmp_path / "data" / "audit", tmp_path / "file"
    if content is not None:
        file.write_text(content)
    (tmp_path / "data").mkdir()
    done = subprocess.run([str(PROGRAM), "serve", "--addr", "127.0.0.1:0", "--data-dir", tmp_path / "data", option, content if option.startswith("--otlp") else file,
                           "--audit-log", f"file:{log}"], capture_output=True, text=True, timeout=60 * SLOW, env=clean_environment({}))
    assert done.returncode in (1, 2), done.stderr
    assert [(e["actor"], e["action"], e["outcome"]) for e in lines_of(log)] == [("serve", "start", outcome)], done.stderr
    assert verify(log).returncode == 0


def test_the_log_may_lie_in_a_data_folder_that_is_not_there_yet(tmp_path):
    with Server(tmp_path, ["--audit-log", f"file:{tmp_path}/data/audit"]) as server:
        assert pathlib.Path(server.data) == tmp_path / "data"
        server.stop()
        assert [e["action"] for e in lines_of(tmp_path / "data/audit")] == ["start", "stop"]


def test_a_pipe_that_nobody_reads_stops_no_request(tmp_path):
    """The disk hangs: the writer's thread waits for it, 4,096 lines wait for the thread, the rest is counted as lost."""
    log = tmp_path / "audit"
    os.mkfifo(log)
    with Server(tmp_path / "server", ["--audit-log", f"file:{log}"], dev_mode=False, env=TOKENS) as server:
        admin = Client(server.port, 7, ADMIN)
        assert admin.deploy("f", ADD).status == 201

        def refused(_):
            connection, statuses = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60 * SLOW), []
            for _ in range(100):
                connection.request("GET", "/functions", headers={"Authorization": "Bearer wrong-token-0123456789"})
                answer = connection.getresponse()
                statuses.append((answer.status, len(answer.read()))[0])
            connection.close()
            return statuses
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            while not admin.metric("tensor_wasm_audit_lost_total"):
                assert all(status == 401 for several in pool.map(refused, range(8)) for status in several)
        assert admin.result("f", "add", [2, 3]) == 5 and admin.request("DELETE", "/functions/f").status == 204


def test_a_full_disk_costs_lines_and_no_request(tmp_path):
    with Server(tmp_path / "server", ["--audit-log", "file:/dev/full"], dev_mode=False, env=TOKENS) as server:
        admin = Client(server.port, 7, ADMIN)
        assert admin.deploy("f", ADD).status == 201 and admin.result("f", "add", [2, 3]) == 5
        assert admin.request("DELETE", "/functions/f").status == 204
        eventually(lambda: admin.metric("tensor_wasm_audit_lost_total") == 3, what="three lost lines")
        assert admin.metric("tensor_wasm_audit_lines_total") == 0
