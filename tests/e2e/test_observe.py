# SPDX-License-Identifier: Apache-2.0
"""What operators look at: the overview as JSON, the board in a terminal and in a pipe, log lines, completions, the manual page."""
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import termios
import time

import pytest

from twtest.build import guest
from twtest.client import Client
from twtest.paths import PROGRAM, SLOW
from twtest.server import Server, clean_environment, eventually

GUEST = guest("limits.wat")
ADMIN, DEPLOYER, ONE = "admin-token-0123456789", "deploy-token-0123456789", "one-admin-0123456789"
TOKENS = {"TENSOR_WASM_API_TOKENS": f"{ADMIN}:tenant=*:role=admin,{DEPLOYER}:tenant=7:role=deploy,{ONE}:tenant=7:role=admin"}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    options = ["--log", "warn,cli=info,http=debug", "--log-format", "json", "--audit-log", "none", "--max-warm", "17"]
    with Server(tmp_path_factory.mktemp("observe"), options, dev_mode=False, env=TOKENS) as server:
        client = Client(server.port, 7, DEPLOYER)
        assert client.deploy("seen", GUEST).status == 201 and client.result("seen", "add", [1, 2]) == 3
        assert client.result("seen", "launch", ["10", 5]) == 0
        for _ in range(3):
            assert client.call("seen", "trap").status == 502
        yield server


def run(*arguments, port=0, status=0, **more):
    done = subprocess.run([str(PROGRAM), *arguments], capture_output=True, text=True, timeout=60 * SLOW, stdin=subprocess.DEVNULL,
                          env=clean_environment({"TENSOR_WASM_SERVER": f"http://127.0.0.1:{port}", "TENSOR_WASM_TOKEN": ADMIN, **more}))
    assert done.returncode == status, (arguments, done)
    return done


def test_the_overview_has_what_an_incident_needs_and_no_secret(own):
    done = run("observe", "--once", port=own.port)
    told = json.loads(done.stdout)
    assert told["ready"] is True and told["version"]["name"] == "tensor-wasm" and told["uptime_s"] >= 0
    assert told["config"]["TENSOR_WASM_MAX_WARM"] == {"value": "17", "source": "flag"}
    assert told["config"]["TENSOR_WASM_API_TOKENS"]["source"] == "environment" and told["config"]["TENSOR_WASM_DEVICE"]["source"] == "default"
    assert ADMIN not in done.stdout and DEPLOYER not in done.stdout
    assert [(f["tenant"], f["name"], f["version"]) for f in told["functions"]] == [("7", "seen", 1)] and told["function_count"] == 1
    assert told["engine"]["instances"] >= 1 and told["instances"] == []
    assert told["engine"]["queued"] == 0 and told["engine"]["queue_wait_us"] == 0
    assert told["devices"]["devices"][0]["kind"] == "cpu"
    tenant = next(t for t in told["tenants"] if t["id"] == "7")
    assert tenant["use"]["functions"]["now"] == 1 and tenant["use"]["concurrent_invocations"]["peak"] >= 1
    metrics = told["metrics"]
    assert metrics["tensor_wasm_kernel_dispatches_total"]["total"] == 5
    assert metrics["tensor_wasm_invokes_total"]["by"] == {"ok": 2, "guest_trap": 3}
    kernels = metrics["tensor_wasm_kernel_latency_seconds"]
    assert kernels["count"] == 5 == sum(n for _, n in kernels["buckets"]) and kernels["buckets"][-1][0] is None
    assert 0 < kernels["p50_s"] <= kernels["p90_s"] <= kernels["p99_s"] and kernels["sum_s"] > 0
    error = told["errors"][0]
    assert (error["kind"], error["tenant"], error["route"], error["count"]) == ("guest_trap", "7", "/functions/:id/invoke", 3)
    assert re.fullmatch("[0-9a-f]{32}", error["trace_id"]) and re.fullmatch("[0-9a-f]{16}", error["request_id"])


def test_the_overview_is_for_an_administrator_of_all_tenants(own):
    assert Client(own.port, 7, DEPLOYER).get("/observe").kind == "role_denied"
    assert Client(own.port, 7, ONE).get("/observe").kind == "tenant_scope_denied"
    assert "role_denied" in run("observe", "--tenant", "7", port=own.port, TENSOR_WASM_TOKEN=DEPLOYER, status=1).stderr


def test_in_a_pipe_the_board_is_plain_text(own):
    done = run("observe", "--count", "2", "--interval-ms", "100", port=own.port)
    pages = done.stdout.strip("\n").split("\n\ntensor-wasm ")
    assert len(pages) == 2 and "\x1b" not in done.stdout
    for page in pages:
        assert re.search(r"^requests +\d+\.\d/s", page, re.M) and re.search(r"permits 0 of 64", page)
        assert re.search(r"^queue +next has waited 0\.0 ms  refused 0\.0/s   trace spans dropped 0\.0/s$", page, re.M)
        assert re.search(r"^7 ", page, re.M) and "LAST ERRORS" in page and "guest_trap" in page


def read_until(fd, wanted, seen=b""):
    deadline = time.monotonic() + 30 * SLOW
    while wanted not in seen:
        assert time.monotonic() < deadline and select.select([fd], [], [], 30 * SLOW)[0], seen
        seen += os.read(fd, 65536)
    return seen


@pytest.mark.parametrize("how", ["q", "signal"])
def test_on_a_terminal_the_board_redraws_until_it_is_ended(own, how):
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    process = subprocess.Popen([str(PROGRAM), "observe", "--interval-ms", "50"], stdin=theirs, stdout=theirs, stderr=theirs,
                               env=clean_environment({"TENSOR_WASM_SERVER": f"http://127.0.0.1:{own.port}", "TENSOR_WASM_TOKEN": ADMIN}))
    seen = read_until(ours, b"\x1b[?1049h")
    for _ in range(3):
        seen = read_until(ours, b"\x1b[H", seen)
        assert b"tensor-wasm" in (seen := read_until(ours, b"\x1b[J", seen))
        seen = seen.split(b"\x1b[J", 1)[1]
    os.write(ours, b"q") if how == "q" else process.send_signal(signal.SIGINT)
    read_until(ours, b"\x1b[?1049l", seen)
    assert process.wait(30 * SLOW) == 0
    assert termios.tcgetattr(theirs) == before
    os.close(ours), os.close(theirs)


def test_without_a_server_the_board_says_so():
    assert "cannot reach" in run("observe", port=1, status=1).stderr


def test_metrics_are_shown_as_the_server_gives_them(own):
    text = run("metrics", port=own.port).stdout
    assert "# TYPE tensor_wasm_invokes_total counter" in text and 'tensor_wasm_invokes_total{result="guest_trap"} 3' in text


def test_every_line_about_a_request_has_its_trace_id(own):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    reply = Client(own.port, 7, DEPLOYER).call("seen", "add", [1, 2], headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    assert reply.headers["x-trace-id"] == trace
    lines = lambda: [json.loads(line) for line in own.log.splitlines() if line.startswith("{")]
    eventually(lambda: any(line.get("trace") == trace for line in lines()), what="the request's line")
    line = next(line for line in lines() if line.get("trace") == trace)
    assert (line["room"], line["level"], line["event"], line["route"], line["status"], line["tenant"]) == (
        "http", "debug", "request", "/functions/:id/invoke", "200", "7")
    assert line["request"] == reply.headers["x-request-id"] and int(line["us"]) >= 0
    assert all("trace" in line for line in lines() if line["event"] == "request")
    assert {line["level"] for line in lines() if line["room"] == "cli"} == {"info"}


def test_a_folder_has_the_level_that_is_said(tmp_path):
    with Server(tmp_path, ["--log", "error,cli=info", "--audit-log", "none"]) as server:
        assert server.client.get("/functions").status == 200
        assert " INFO  cli: listening" in server.log and "request" not in server.log
    assert "moon" in run("serve", "--data-dir", str(tmp_path / "x"), "--log", "moon", status=2).stderr


def test_a_wrong_name_is_answered_with_the_nearest(tmp_path):
    for wrong, right in (("TENSOR_WASM_MAX_INSTANCE", "TENSOR_WASM_MAX_INSTANCES"), ("TENSOR_WASM_LISTEN_ADR", "TENSOR_WASM_LISTEN_ADDR"),
                         ("TENSOR_WASM_TOKNE", "TENSOR_WASM_TOKEN")):
        assert f"did you mean {right}" in run("serve", "--data-dir", str(tmp_path), status=2, **{wrong: "1"}).stderr
    assert "did you mean" not in run("serve", "--data-dir", str(tmp_path), status=2, TENSOR_WASM_QQQQQQQQ="1").stderr
    assert "did you mean 'functions list'" in run("functoins", "list", status=2).stderr


def test_bash_completes_commands_and_options():
    script = run("completions", "bash").stdout
    words = f"""{script}
        PATH="{PROGRAM.parent}:$PATH"
        COMP_WORDS=(tensor-wasm admin tenant ''); COMP_CWORD=3; _tensor_wasm; echo "${{COMPREPLY[@]}}"
        COMP_WORDS=(tensor-wasm fun); COMP_CWORD=1; _tensor_wasm; echo "${{COMPREPLY[@]}}"
        COMP_WORDS=(tensor-wasm observe --on); COMP_CWORD=2; _tensor_wasm; echo "${{COMPREPLY[@]}}"
        COMP_WORDS=(tensor-wasm serve --max-w); COMP_CWORD=2; _tensor_wasm; echo "${{COMPREPLY[@]}}" """
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True)
    told = [sorted(set(line.split())) for line in done.stdout.splitlines()]
    assert told == [["get", "list", "set"], ["functions"], ["--once"], ["--max-warm"]], done
    assert run("completions", "fish").stdout.count("complete -c tensor-wasm") > 20 and "bashcompinit" in run("completions", "zsh").stdout
    run("completions", "tcsh", status=2)


def test_the_manual_page_is_good_roff():
    page = run("man").stdout
    assert page.startswith(".TH") and "TENSOR_WASM_MAX_WARM" in page and "admin tenant set" in page
    if shutil.which("man"):
        done = subprocess.run(["man", "--warnings", "-l", "-"], input=page, capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr and "EXIT STATUS" in done.stdout, done
