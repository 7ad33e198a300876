# SPDX-License-Identifier: Apache-2.0
"""Every command: what it prints where, and its exit code (0 ok, 1 failed, 2 wrong use or input, 3 not offered)."""
import json
import os
import platform
import re
import resource
import subprocess

import pytest

from twtest.build import GUESTS, example, guest, kernel, wat
from twtest.paths import EXAMPLES, PROGRAM, ROOT, SLOW
from twtest.server import Server, clean_environment

LOOP = wat('(module (memory (export "memory") 1) (func $inner unreachable) (func (export "_start") (call $inner)))')


def run(*args, data=b"", env=(), status=0):
    done = subprocess.run([str(a) for a in (PROGRAM, *args)], input=data, capture_output=True, timeout=60 * SLOW, env=clean_environment(env))
    assert done.returncode == status, f"{args}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:].decode()}"
    if status:
        assert done.stderr, "a failure has to be told on standard error"
    return done.stdout.decode(errors="surrogateescape"), done.stderr.decode(errors="replace")


@pytest.fixture
def cli(shared):
    return lambda *args, **more: run(*args, env={"TENSOR_WASM_SERVER": f"http://127.0.0.1:{shared.port}"}, **more)


@pytest.fixture
def files(tmp_path):
    for name in ("hello", "vector_add", "edges"):
        (tmp_path / f"{name}.wasm").write_bytes(example(name))
    (tmp_path / "trap.wasm").write_bytes(LOOP)
    (tmp_path / "text.txt").write_text("no module")
    return tmp_path


# ---- help and wrong use ----

def commands():
    """The words of every command in the table."""
    lines = (ROOT / "src/cli/commands.def").read_text().splitlines()
    return [line.split('"')[1] for line in lines if line.startswith("TW_COMMAND")]


def test_help_names_every_command():
    out, _ = run("--help")
    assert len(commands()) >= 12 and all(f"  {words} " in out for words in commands())
    run(status=2)


@pytest.mark.parametrize("words", commands())
def test_every_command_has_help_and_refuses_unknown_options(words):
    out, _ = run(*words.split(), "--help")
    assert f"usage: tensor-wasm {words}" in out
    _, err = run(*words.split(), "--no-such-option", status=2)
    assert "--no-such-option" in err


@pytest.mark.parametrize("args", [
    ["frobnicate"], ["functions"], ["deploy"], ["deploy", "a", "b"], ["invoke"], ["run"], ["kernel", "run", "x.ptx"], ["kernel", "dump", "x.ptx"],
    ["devices", "--output", "xml"], ["run", "/nosuch/file.wasm"], ["deploy", "/nosuch/file.wasm"],
    ["invoke", "f", "--args", "[1]", "--input", "x"]])
def test_wrong_use_is_2(args):
    run(*args, status=2)


@pytest.mark.parametrize("args, wrong", [(["invoke"], "an argument is missing"), (["invoke", "f", "5"], "'5' is one argument too many")])
def test_a_wrong_number_of_arguments_is_told_with_the_usage(args, wrong):
    _, err = run(*args, status=2)
    assert f"{wrong}; usage: tensor-wasm invoke FUNCTION" in err


@pytest.mark.parametrize("family", ["functions", "kernel", "admin", "admin tenant"])
def test_a_family_lists_its_commands(family):
    wanted = [words for words in commands() if words.startswith(family + " ")]
    for args, status in [([*family.split()], 2), ([*family.split(), "--help"], 0), (["help", *family.split()], 0)]:
        shown = run(*args, status=status)[1 if status else 0].split("commands:\n")[1].splitlines()
        assert [line[2:].split("  ")[0] for line in shown] == wanted


@pytest.mark.parametrize("given, meant", [("functons", "functions list"), ("kernel rn", "kernel run"), ("instances lst", "instances list"), ("invok hello", "invoke"),
                                          ("zzz", None)])
def test_unknown_commands_get_a_suggestion(given, meant):
    _, err = run(*given.split(), status=2)
    assert f"no command '{given}'" in err and (f"did you mean '{meant}'?" in err if meant else "did you mean" not in err)


def test_help_before_a_command_is_its_help():
    assert run("help", "kernel", "run") == run("kernel", "run", "--help")
    assert run("help") == run("--help")


def test_version():
    assert run("version")[0].startswith("tensor-wasm ") and run("--version")[0].startswith("tensor-wasm ")
    assert json.loads(run("version", "--output", "json")[0])["version"]


# ---- against a server ----

@pytest.mark.parametrize("args", [["version"], ["--help"], ["doctor"], ["serve", "--print-config"], ["metrics"]], ids=" ".join)
def test_output_that_cannot_be_written_is_a_failure(shared, args):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([PROGRAM, *args], stdout=full, stderr=subprocess.PIPE, timeout=60 * SLOW,
                              env=clean_environment({"TENSOR_WASM_SERVER": f"http://127.0.0.1:{shared.port}"}))
    assert done.returncode == 1
    assert b"cannot write to standard output: No space left on device" in done.stderr


def test_what_a_job_wrote_follows_its_line(cli, tmp_path):
    (tmp_path / "spoken.wasm").write_bytes(wat('''(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1) (data (i32.const 0) "\\10\\00\\00\\00\\06\\00\\00\\00") (data (i32.const 16) "spoken")
        (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))'''))
    cli("deploy", tmp_path / "spoken.wasm")
    job = cli("invoke", "spoken", "--async")[0].split()[0]
    first, *_, last = cli("jobs", "get", job, "--wait")[0].splitlines()
    assert " done spoken " in first and last == "spoken"


def test_output_that_is_no_text_comes_out_as_it_is_and_nothing_is_printed_for_no_result(cli, tmp_path):
    (tmp_path / "bytes.wasm").write_bytes(wat('''(module (import "wasi:tensor/host@0.1.0" "emit-chunk" (func $emit (param i32 i32) (result i32)))
        (memory (export "memory") 1) (data (i32.const 0) "\\ff\\00\\80") (func (export "_start") (drop (call $emit (i32.const 0) (i32.const 3)))))'''))
    cli("deploy", tmp_path / "bytes.wasm")
    written = "\udcff\0\udc80"
    assert cli("invoke", "bytes")[0] == written and cli("run", tmp_path / "bytes.wasm", "--args", "[]")[0] == written
    job = cli("invoke", "bytes", "--async")[0].split()[0]
    assert cli("jobs", "get", job, "--wait")[0].endswith("\n" + written)


@pytest.mark.parametrize("args, wanted", [("[1", "line 1, column 2"), ("3", "takes a JSON array"), ('[1],"export":"x"', "takes a JSON array")])
def test_arguments_that_are_no_array_are_told_by_their_own_place(cli, files, args, wanted):
    for words in (["invoke", "any"], ["run", files / "hello.wasm"]):
        _, err = cli(*words, "--args", args, status=2)
        assert "--args takes a JSON array, such as '[2, 3]'" in err and wanted in err, err


def test_a_functions_life(cli, files):
    out, _ = cli("deploy", files / "hello.wasm", "--name", "cli-hello")
    assert "cli-hello" in out and "add(i32, i32) -> i32" in out
    assert cli("invoke", "cli-hello", "--export", "add", "--args", "[20,22]")[0] == "42\n"
    assert json.loads(cli("invoke", "cli-hello", "--export", "add", "--args", "[1,2]", "--output", "json")[0])["result"] == 3
    assert cli("invoke", "cli-hello", "--input", "-")[0] == "hello, world\n"
    assert "cli-hello" in cli("functions", "list")[0]
    listed = json.loads(cli("functions", "list", "--output", "json")[0])
    assert "cli-hello" in [f["name"] for f in listed]
    assert json.loads(cli("functions", "get", "cli-hello", "--output", "json")[0])["name"] == "cli-hello"
    _, err = cli("deploy", files / "vector_add.wasm", "--name", "cli-hello", status=1)
    assert "conflict" in err
    assert json.loads(cli("deploy", files / "vector_add.wasm", "--name", "cli-hello", "--replace", "--output", "json")[0])["version"] == 2
    assert cli("invoke", "cli-hello", "--export", "vector_add", "--args", "[1000]")[0].startswith("1498500")
    cli("functions", "delete", "cli-hello")
    _, err = cli("functions", "get", "cli-hello", status=1)
    assert "not_found" in err


def test_the_files_name_is_the_functions(cli, files):
    cli("deploy", files / "edges.wasm")
    assert json.loads(cli("functions", "get", "edges", "--output", "json")[0])["name"] == "edges"


def test_settings_go_along(cli, files):
    cli("deploy", files / "hello.wasm", "--name", "cli-set", "--config", '{"timeout_ms":1234}')
    assert json.loads(cli("functions", "get", "cli-set", "--output", "json")[0])["config"] == {"timeout_ms": 1234}
    cli("deploy", files / "hello.wasm", "--name", "cli-set2", "--config", "{", status=2)
    cli("deploy", files / "hello.wasm", "--name", "cli-set2", "--config", '{"x":1}', status=1)


def test_a_failed_call_tells_the_backtrace(cli, files):
    cli("deploy", files / "trap.wasm", "--name", "cli-trap")
    _, err = cli("invoke", "cli-trap", status=1)
    assert "guest_trap" in err and re.search(r"at inner \(function 0\).*at _start \(function 1\)", err, re.S), err


def test_a_deadline_ends_a_call(cli, tmp_path):
    (tmp_path / "spin.wasm").write_bytes(wat('(module (func (export "_start") (loop br 0)))'))
    cli("deploy", tmp_path / "spin.wasm", "--name", "cli-spin")
    _, err = cli("invoke", "cli-spin", "--deadline-ms", "50", status=1)
    assert "invoke_timeout" in err and "50 ms" in err
    _, err = cli("invoke", "cli-spin", "--deadline-ms", "0", status=2)
    assert "--deadline-ms takes a whole number from 1" in err


def test_metrics_as_json_are_the_same_numbers(cli):
    families = {f["name"]: f for f in json.loads(cli("metrics", "--output", "json")[0])}
    info, text = families["tensor_wasm_build_info"], cli("metrics")[0]
    assert info["type"] == "gauge" and info["help"] and info["samples"][0]["value"] == 1 and info["samples"][0]["labels"]["version"]
    assert sum(len(f["samples"]) for f in families.values()) == len([line for line in text.splitlines() if line and not line.startswith("#")])
    buckets = [s for f in families.values() if f["type"] == "histogram" for s in f["samples"] if s["name"].endswith("_bucket")]
    assert buckets and all("le" in s["labels"] for s in buckets)


def test_tenants_are_apart(cli, files):
    cli("deploy", files / "hello.wasm", "--name", "cli-tenant", "--tenant", "55")
    cli("functions", "get", "cli-tenant", "--tenant", "55")
    cli("functions", "get", "cli-tenant", "--tenant", "56", status=1)


def test_devices(cli):
    assert "device 0" in cli("devices")[0]
    assert json.loads(cli("devices", "--output", "json")[0])["devices"]


def test_no_server_there():
    for more in ((), ("--output", "json")):
        out, err = run("functions", "list", "--server", "http://127.0.0.1:1", *more, status=1)
        assert "127.0.0.1:1" in err and out == ""


def test_lists_of_nothing(cli):
    assert cli("functions", "list", "--tenant", "57") == ("", "")
    assert cli("functions", "list", "--tenant", "57", "--output", "json") == ("[]\n", "")


def test_a_token_is_sent(tmp_path):
    with Server(tmp_path, dev_mode=False) as own:
        where = {"TENSOR_WASM_SERVER": f"http://127.0.0.1:{own.port}"}
        _, err = run("functions", "list", env=where, status=1)
        assert "unauthorized" in err and "TENSOR_WASM_TOKEN" in err
        run("functions", "list", env={**where, "TENSOR_WASM_TOKEN": (own.data / "admin-token").read_text().strip()})


# ---- without a server ----

def test_run(files):
    assert run("run", files / "hello.wasm")[0] == "hello, world\n"
    assert run("run", files / "hello.wasm", "--export", "add", "--args", "[2,3]")[0] == "5\n"
    assert run("run", files / "vector_add.wasm", "--export", "vector_add", "--args", "[1000]")[0].startswith("1498500")
    _, err = run("run", files / "trap.wasm", status=1)
    assert "inner" in err
    _, err = run("run", files / "text.txt", status=2)
    assert "invalid_wasm" in err
    run("run", files / "hello.wasm", "--export", "nosuch", "--args", "[]", status=2)
    run("run", files / "hello.wasm", "--export", "add", "--args", "[1]", status=2)
    run("run", files / "hello.wasm", "--export", "add", "--args", "[1", status=2)
    _, err = run("run", files / "edges.wasm", data=b"P5\n", status=1)
    assert "ends within the header" in err


def test_bench(files):
    out, _ = run("bench", files / "hello.wasm", "--export", "add", "--args", "[2,3]", "--calls", "200", "--callers", "3", "--output", "json")
    report = json.loads(out)
    times = report["microseconds"]
    assert (report["calls"], report["failed"], report["callers"]) == (200, 0, 3) and report["deploy_ms"] > 0 and report["calls_per_second"] > 0
    assert set(times) == {"call", "queue", "start", "run", "kernel"}
    assert all(times[phase]["p50"] <= times[phase]["p90"] <= times[phase]["p99"] <= times[phase]["max"] for phase in times)
    assert times["call"]["max"] >= times["run"]["p50"] > 0 and times["kernel"]["max"] == 0
    out, _ = run("bench", files / "vector_add.wasm", "--export", "vector_add", "--args", "[1000]", "--calls", "20")
    assert "20 calls by 1 caller" in out and "0 failed" in out and out.splitlines()[-1].split()[0] == "kernel"
    assert float(out.splitlines()[-1].split()[-1]) > 0  # the longest time in a kernel


def test_bench_tells_what_fails(files):
    assert "inner" in run("bench", files / "trap.wasm", status=1)[1]
    assert "missing_export" in run("bench", files / "hello.wasm", "--export", "nosuch", status=1)[1]
    assert "--callers takes" in run("bench", files / "hello.wasm", "--callers", "65", status=2)[1]
    assert "exclude each other" in run("bench", files / "hello.wasm", "--args", "[]", "--input", "x", status=2)[1]


def test_run_gives_arguments_and_an_environment(tmp_path):
    module = tmp_path / "wasi.wasm"
    module.write_bytes(guest("wasi.c"))
    given = ["--arg", "one", "--env", "A=1", "--arg", "two=words here", "--arg", "", "--env", "B=x=\u00fc", "--env", "EMPTY="]
    assert run("run", module, *given, data=b"args")[0] == "run\none\ntwo=words here\n\n"
    assert sorted(run("run", module, *given, data=b"env")[0].split("\n")) == ["", "A=1", "B=x=\u00fc", "EMPTY="]
    assert run("run", module, data=b"args")[0] == "run\n" and run("run", module, data=b"env")[0] == ""
    for wrong, words in (["--env", "A"], "NAME=VALUE"), (["--env", "=x"], "name"), (["--env", "A=1", "--env", "A=2"], "A"), (["--arg", "x"] * 65, "64"):
        assert words in run("run", module, *wrong, data=b"args", status=2)[1]


def test_the_limit_of_open_files_is_raised_and_shown():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    done = subprocess.run([str(PROGRAM), "doctor", "--output", "json"], capture_output=True, env=clean_environment({}),
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard)))
    told = next(f for f in json.loads(done.stdout) if f["name"] == "open files")
    assert told["text"].split()[0] == str(hard), told



PTX = kernel("vector_add")


@pytest.mark.parametrize("stage, wanted", [("parse", "vector_add"), ("ir", "vector_add"), ("opt", "vector_add"), ("program", "add.f32"), ("llvm", "define"), ("asm", "ret"),
                                           ("ptx", ".visible .entry vector_add(")])
def test_kernel_dump(stage, wanted):
    assert wanted in run("kernel", "dump", PTX, "--stage", stage)[0]


def test_kernel_dump_refuses(files):
    _, err = run("kernel", "dump", PTX, "--stage", "nosuch", status=2)
    assert "parse, ir, opt, program, llvm, asm, ptx or time, not 'nosuch'" in err
    run("kernel", "dump", PTX, "--stage", "ir", "--fence", status=2)
    run("kernel", "dump", files / "text.txt", "--stage", "ir", status=1)
    for stage in ("opt", "llvm", "asm", "ptx"):  # several entries: which?
        _, err = run("kernel", "dump", kernel("histogram"), "--stage", stage, status=1)
        assert "histogram_shared" in err and "histogram_global" in err
    run("kernel", "dump", kernel("histogram"), "--stage", "llvm", "--entry", "histogram_global")


def test_kernel_dump_says_what_keeps_a_kernel_from_having_a_program(tmp_path):
    file = tmp_path / "k.ptx"
    file.write_text(".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k()\n{\n\t.reg .pred %p<2>;\n"
                    "\tbarrier.cta.arrive 1, 64;\n\tbarrier.cta.sync 2, 64;\n\tret;\n}\n")
    _, err = run("kernel", "dump", file, "--stage", "program", status=1)
    assert "not_implemented" in err and "is compiled before its first launch" in err


@pytest.mark.parametrize("command", [["dump", "--stage", "ir"], ["run", "--entry", "k", "--grid", "1", "--block", "1"]])
@pytest.mark.parametrize("body, caret", [("\tfrob.u32 %r1, %r2;", "\t^"), ("    tex.2d.v4.f32.f32 {%f1, %f2, %f3, %f4}, [t, {%f1, %f2}];", "    ^"),
                                         ("    add.u32 %r1, %nosuch, 1;", "                 ^")])
def test_a_refused_instruction_is_shown_with_a_caret(tmp_path, command, body, caret):
    file = tmp_path / "k.ptx"
    file.write_text(f".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k()\n{{\n    .reg .b32 %r<4>; .reg .f32 %f<5>;\n{body}\n    ret;\n}}\n")
    _, err = run("kernel", command[0], file, *command[1:], status=1)
    first, line, mark = err.rstrip("\n").split("\n")
    assert "malformed_ptx: line 7, column" in first and line == body and mark == caret, err


def test_a_refused_kernel_is_told_of_and_the_others_run(tmp_path):
    file = tmp_path / "two.ptx"
    file.write_text(".version 7.8\n.target sm_80\n.address_size 64\n.func f()\n{\n\twgmma.fence.sync.aligned;\n\tret;\n}\n"
                    ".visible .entry bad()\n{\n\tcall f;\n\tret;\n}\n.visible .entry good()\n{\n\tret;\n}\n")
    for stage in ("parse", "ir", "opt", "asm", "ptx"):
        out, err = run("kernel", "dump", file, "--stage", stage)
        assert "good" in out and err.split("\n")[1:] == ["\twgmma.fence.sync.aligned;", "\t^", ""], err
        assert "warning: kernel 'bad' is refused: line 6, column 2: instruction 'wgmma.fence.sync.aligned' is not supported" in err
    run("kernel", "run", file, "--entry", "good", "--grid", "1", "--block", "1")
    for command in (["run", "--grid", "1", "--block", "1"], ["dump", "--stage", "ir"], ["dump", "--stage", "llvm"]):
        _, err = run("kernel", command[0], file, "--entry", "bad", *command[1:], status=1)
        assert "malformed_ptx: line 6, column 2: instruction 'wgmma.fence.sync.aligned'" in err


@pytest.mark.parametrize("bounds, block, wanted", [(".reqntid 32, 2", "32,2", None), (".reqntid 32, 2", "64", "requires blocks of 32 × 2 × 1"),
                                                   (".maxntid 64", "64", None), (".maxntid 64", "65", "at most 64 threads"),
                                                   (".maxntid 1024\n.minnctapersm 2", "1024", None)])
def test_launch_bounds_hold(tmp_path, bounds, block, wanted):
    file = tmp_path / "k.ptx"
    file.write_text(f".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k()\n{bounds}\n{{\n    ret;\n}}\n")
    _, err = run("kernel", "run", file, "--entry", "k", "--grid", "1", "--block", block, status=1 if wanted else 0)
    assert (wanted or "") in err


@pytest.mark.parametrize("args, status, wanted", [
    (["--entry", "vector_add", "--grid", "1", "--block", "32", "out:4:@/o", "out:4:@/p", "out:4:@/q", "i32:1"], 0, ""),
    (["--entry", "vector_add", "--grid", "1", "--block", "32", "i32:1"], 1, "invalid_kernel_args"),
    (["--entry", "nosuch", "--grid", "1", "--block", "32"], 1, "nosuch"),
    (["--entry", "vector_add", "--grid", "0", "--block", "32", "out:4:@/o", "out:4:@/p", "out:4:@/q", "i32:1"], 1, "invalid_dimensions"),
    (["--entry", "vector_add", "--grid", "1", "--block", "2048", "out:4:@/o", "out:4:@/p", "out:4:@/q", "i32:1"], 1, "invalid_dimensions"),
    (["--entry", "vector_add", "--grid", "1", "--block", "32", "out:4:@/o", "out:4:@/p", "out:4:@/q", "i32:2000000000"], 0, ""),
    (["--entry", "vector_add", "--grid", "one", "--block", "32"], 2, "--grid"),
    (["--entry", "vector_add", "--grid", "1,1,1,1", "--block", "32"], 2, "--grid"),
    (["--entry", "vector_add", "--grid", "1", "--block", "32", "i8:1"], 2, "i8:1"),
    (["--entry", "vector_add", "--grid", "1", "--block", "32", "i32:3000000000"], 2, "i32:3000000000"),
    (["--entry", "vector_add", "--grid", "1", "--block", "32", "in:/nosuch"], 2, "/nosuch"),
    (["--entry", "vector_add", "--grid", "1", "--block", "32", "out:9999999999999:@/o"], 2, "at most 536870912 bytes"),
    (["--entry", "vector_add", "--grid", "1", "--block", "32", "out:4"], 2, "out:BYTES:FILE"),
    (["--entry", "vector_add", "--grid", "1", "--block", "32", "--repeat", "0"], 2, "--repeat"),
    (["--entry", "vector_add", "--grid", "1"], 2, "--block")])
def test_kernel_run_and_its_refusals(tmp_path, args, status, wanted):
    _, err = run("kernel", "run", PTX, *[a.replace("@", str(tmp_path)) for a in args], status=status)
    assert wanted in err and err.count("\n") == (status != 0)


def test_a_kernels_output_goes_through_links_into_pipes_and_to_standard_output(tmp_path):
    (tmp_path / "x").write_bytes(b"\x00\x00\x80\x3f")
    (tmp_path / "real").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE)
    args = ["kernel", "run", kernel("saxpy"), "--entry", "saxpy", "--grid", "1", "--block", "32", "f32:2", f"in:{tmp_path}/x"]
    for place in ("link", "pipe"):
        run(*args, f"inout:{tmp_path}/x:{tmp_path}/{place}", "i32:1")
    wanted = b"\x00\x00\x40\x40"  # 2 · 1 + 1
    assert reader.communicate(timeout=60 * SLOW)[0] == wanted
    assert (tmp_path / "real").read_bytes() == wanted and (tmp_path / "link").is_symlink()
    done = subprocess.run([PROGRAM, *args, f"inout:{tmp_path}/x:-", "i32:1"], capture_output=True, timeout=60 * SLOW, env=clean_environment(()))
    assert done.stdout == wanted
    _, err = run(*args, f"inout:{tmp_path}/x:/dev/full", "i32:1", status=1)
    assert "cannot write /dev/full: No space left on device" in err


def test_hexadecimal_scalars_are_bits(tmp_path):
    (tmp_path / "x").write_bytes(b"\x00\x00\x80\x3f")  # 1.0
    run("kernel", "run", kernel("saxpy"), "--entry", "saxpy", "--grid", "1", "--block", "32", "f32:0x40400000", f"in:{tmp_path}/x",
        f"inout:{tmp_path}/x:{tmp_path}/y", "i32:1")
    assert (tmp_path / "y").read_bytes() == b"\x00\x00\x80\x40"  # 3 * 1 + 1


def test_doctor(tmp_path):
    out, _ = run("doctor", "--data-dir", tmp_path)
    assert "0 errors" in out
    findings = json.loads(run("doctor", "--output", "json", "--data-dir", tmp_path)[0])
    assert findings and all(f["level"] in ("ok", "hint", "warning") for f in findings)
    reset = next(f for f in findings if f["name"] == "instance reset")
    assert reset["text"].split()[0] in ("pagemap_scan", "madvise") and platform.release() in reset["text"], reset


def test_doctor_says_what_is_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    out, _ = run_any("doctor", "--data-dir", tmp_path / "file")
    assert "error" in out


def run_any(*args):
    done = subprocess.run([str(a) for a in (PROGRAM, *args)], input=b"", capture_output=True, timeout=60 * SLOW, env=clean_environment())
    assert done.returncode in (1, 2)
    return done.stdout.decode(), done.stderr.decode()


# ---- settings ----

def test_print_config_tells_values_and_sources():
    told = json.loads(run("serve", "--print-config", "--output", "json", "--drain-ms", "77", env={
        "TENSOR_WASM_THREADS": "3", "TENSOR_WASM_API_TOKENS": "secret-secret-secret"})[0])
    assert told["TENSOR_WASM_DRAIN_MS"] == {"value": "77", "source": "flag"}
    assert told["TENSOR_WASM_THREADS"] == {"value": "3", "source": "environment"}
    assert told["TENSOR_WASM_INVOKE_TIMEOUT_MS"] == {"value": "30000", "source": "default"}
    assert "secret" not in json.dumps(told["TENSOR_WASM_API_TOKENS"])


@pytest.mark.parametrize("args, env, wanted", [
    (["--threads", "many"], {}, "--threads"), (["--interrupt", "never"], {}, "INTERRUPT"), (["--log", "loud"], {}, "loud"),
    (["--addr", "nonsense"], {}, "nonsense"), ([], {"TENSOR_WASM_NO_SUCH": "1"}, "TENSOR_WASM_NO_SUCH"),
    ([], {"TENSOR_WASM_DRAIN_MS": "-1"}, "TENSOR_WASM_DRAIN_MS"), (["--tokens", "short"], {}, "token"), (["--device", "abacus"], {}, "abacus")])
def test_settings_that_are_wrong_stop_the_start(tmp_path, args, env, wanted):
    done = subprocess.run([PROGRAM, "serve", "--addr", "127.0.0.1:0", "--data-dir", tmp_path / "d", *args], capture_output=True, text=True,
                          timeout=30 * SLOW, env=clean_environment(env))
    assert done.returncode in (1, 2) and wanted in done.stderr, done.stderr
