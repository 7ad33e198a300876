# SPDX-License-Identifier: Apache-2.0
"""The registry of kernels: publish, list, get, verify, delete over HTTP and the command line; guests load what their tenant published. Signatures
are made and checked with the openssl program where it is there, so that ours are compared with somebody else's."""
import base64
import hashlib
import json
import shutil
import signal
import subprocess

import pytest

from twtest.build import guest
from twtest.client import Client
from twtest.paths import PROGRAM, SLOW
from twtest.server import Server, clean_environment, eventually

ENTRY = """.visible .entry {name}(.param .u64 data)
{{
    .reg .b32 %r<4>; .reg .b64 %d<4>;
    ld.param.u64 %d1, [data];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %d2, %r1, 4;
    add.u64 %d1, %d1, %d2;
    ld.global.u32 %r2, [%d1];
    add.u32 %r2, %r2, {step};
    st.global.u32 [%d1], %r2;
    ret;
}}
"""
HEAD = ".version 7.8\n.target sm_80\n.address_size 64\n"


def ptx(step=1):
    return HEAD + ENTRY.format(name="inc", step=step)


def publish(client, name, version, text, **more):
    return client.post_json("/kernels", {"name": name, "version": version, "ptx": text, **more}, timeout=60)


def run(client, name, version):
    """(code, words or error) of the guest that loads and runs a published kernel."""
    reply = client.raw("registry", f"{name}\n{version}".encode(), "run")
    assert reply.status == 200, reply
    code, rest = reply.body.decode().split("\n", 1)
    return int(code), [int(word) for word in rest.split()] if code == "0" else rest


def plus(step):
    return 0, [i + step for i in range(32)]


def signed_text(name, version, entry, text):
    return f"tensor-wasm kernel 1\nname: {name}\nversion: {version}\nentry: {entry}\nsha256: {hashlib.sha256(text.encode()).hexdigest()}\n"


@pytest.fixture
def own(tmp_path):
    """Starts servers with options; each has the guest."""
    started = []

    def start(*options, env=()):
        server = Server(tmp_path / f"server{len(started)}", options, env).start()
        started.append(server)
        assert server.client.deploy("registry", guest("registry.c")).status == 201
        return server
    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="module")
def deployed(shared):
    assert shared.client.deploy("registry", guest("registry.c")).status == 201
    return shared.client


def cli(server, *words, status=0, text=None):
    done = subprocess.run([str(PROGRAM), *map(str, words)], capture_output=True, text=True, timeout=60 * SLOW, input=text,
                          env=clean_environment({"TENSOR_WASM_SERVER": f"http://127.0.0.1:{server.port}" if server else ""}))
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done


def test_a_published_kernel_is_found_by_a_guest(deployed):
    reply = publish(deployed, "found", "1.0", ptx())
    assert reply.status == 201, reply
    told = reply.json()
    assert told["name"] == "found" and told["version"] == "1.0" and told["entry"] == "inc" and told["size_bytes"] == len(ptx())
    assert told["digest"] == hashlib.sha256(ptx().encode()).hexdigest() and told["signature"] is None and told["signed_by"] is None
    assert [(p["name"], p["type"], p["pointer"]) for p in told["params"]] == [("data", "u64", True)]
    assert run(deployed, "found", "1.0") == plus(1)
    assert publish(deployed, "found", "1.1", ptx(2)).status == 201
    assert run(deployed, "found", "1.1") == plus(2) and run(deployed, "found", "1.0") == plus(1)
    assert run(deployed, "found", "") == plus(2), "without a version the newest runs"
    got = deployed.get("/kernels/found/1.0?ptx=true").json()
    assert base64.b64decode(got.pop("ptx_b64")).decode() == ptx() and got == told == deployed.get("/kernels/found/1.0").json()


def test_loading_twice_compiles_once(deployed):
    assert publish(deployed, "again", "1", ptx(77)).status == 201
    assert deployed.raw("registry", b"again\n1", "run_again").body == b"1 0 0 0 0 -3 0 231", "three times 77"
    loads = lambda: deployed.metrics()['tensor_wasm_kernel_loads_total{result="compiled"}']  # better code may come at any time
    before = loads()
    assert run(deployed, "again", "1") == plus(77)
    assert loads() == before


def test_versions_never_change(deployed):
    told = publish(deployed, "fixed", "1", ptx()).json()
    again = publish(deployed, "fixed", "1", ptx())
    assert again.status == 201 and again.json() == told
    other = publish(deployed, "fixed", "1", ptx(3))
    assert (other.status, other.kind) == (409, "conflict") and "new one" in other.message
    assert run(deployed, "fixed", "1") == plus(1)


@pytest.mark.parametrize("body, status, kind", [
    ({"version": "1", "ptx": "x"}, 400, "invalid_request"), ({"name": "a", "ptx": "x"}, 400, "invalid_request"),
    ({"name": "a", "version": "1"}, 400, "invalid_request"), ({"name": "a", "version": "1", "ptx": ptx(), "ptx_b64": "eA=="}, 400, "invalid_request"),
    ({"name": 5, "version": "1", "ptx": "x"}, 400, "invalid_request"), ({"name": "a", "version": "1", "ptx_b64": "!"}, 400, "invalid_base64"),
    ({"name": "-a", "version": "1", "ptx": ptx()}, 400, "invalid_name"), ({"name": "a/b", "version": "1", "ptx": ptx()}, 400, "invalid_name"),
    ({"name": "a", "version": "..", "ptx": ptx()}, 400, "invalid_name"), ({"name": "a", "version": "1" * 65, "ptx": ptx()}, 400, "invalid_name"),
    ({"name": "a" * 129, "version": "1", "ptx": ptx()}, 400, "invalid_name"),
    ({"name": "a", "version": "1", "ptx": ptx(), "entry": "nosuch"}, 400, "invalid_kernel"),
    ({"name": "a", "version": "1", "ptx": ptx() + ENTRY.format(name="second", step=1)}, 400, "invalid_kernel"),
    ({"name": "a", "version": "1", "ptx": HEAD}, 400, "invalid_kernel"),
    ({"name": "a", "version": "1", "ptx": ptx(), "signature": "eA=="}, 400, "invalid_base64"),
    ({"name": "a", "version": "1", "ptx": ptx(), "signature": base64.b64encode(bytes(64)).decode()}, 403, "kernel_signature_invalid"),
    ({"name": "a", "version": "1", "ptx": HEAD + "//" + "x" * (8 << 20)}, 413, "module_too_large")])
def test_what_cannot_be_published(deployed, body, status, kind):
    reply = deployed.post_json("/kernels", body, timeout=60)
    assert (reply.status, reply.kind) == (status, kind), reply
    assert deployed.get("/kernels/a/1").status == 404


def test_an_entry_can_be_chosen_and_bare_text_is_taken(deployed):
    text = ptx() + ENTRY.format(name="second", step=9)
    reply = deployed.request("POST", "/kernels?name=two&version=1&entry=second", text, {"Content-Type": "text/plain"}, timeout=60)
    assert reply.status == 201 and reply.json()["entry"] == "second", reply
    assert run(deployed, "two", "1") == plus(9)


def test_an_error_in_the_ptx_points_at_its_place(deployed):
    reply = publish(deployed, "wrong", "1", ptx().replace("    add.u32", "\tfrob.u32"))
    assert (reply.status, reply.kind) == (400, "malformed_ptx") and "line 12, column 2" in reply.message and "frob" in reply.message
    error = reply.json()["error"]
    assert (error["line"], error["column"], error["source"], error["caret"]) == (12, 2, "\tfrob.u32 %r2, %r2, 1;", "\t^")


def test_a_refused_entry_cannot_be_published_but_the_others_of_its_text(deployed):
    text = ptx(4) + ENTRY.format(name="second", step=1).replace("add.u32", "tex.1d.v4.s32.s32")
    for entry in (None, "second"):
        reply = publish(deployed, "half", "1", text, **({"entry": entry} if entry else {}))
        assert reply.status == 400 and reply.kind == ("malformed_ptx" if entry else "invalid_kernel"), reply
    assert "line 24, column 5: instruction 'tex.1d.v4.s32.s32'" in reply.message
    assert publish(deployed, "half", "1", text, entry="inc").status == 201
    assert run(deployed, "half", "1") == plus(4)


def test_another_tenants_kernel_is_not_there(deployed, shared):
    assert publish(deployed, "mine", "1", ptx()).status == 201
    other = Client(shared.port, tenant=4711)
    assert other.deploy("registry", guest("registry.c")).status == 201
    assert other.get("/kernels/mine/1").status == 404 and other.request("DELETE", "/kernels/mine/1").status == 404
    assert other.get("/kernels").json() == {"kernels": [], "next": None}
    code, text = run(other, "mine", "1")
    assert code == -3 and "mine" in text and "4711" in text
    assert publish(other, "mine", "1", ptx(5)).status == 201
    assert run(other, "mine", "1") == plus(5) and run(deployed, "mine", "1") == plus(1)


def test_a_kernel_that_is_not_there_is_an_error_with_its_name(deployed):
    assert publish(deployed, "there", "1", ptx()).status == 201
    for name, version in (("nowhere", "1"), ("there", "2"), ("nowhere", ""), ("a/b", "1"), ("\x00", "\x00")):
        code, text = run(deployed, name, version)
        assert code == -3 and "no kernel" in text, (name, text)
    assert deployed.raw("registry", b"", "bad_ranges").body == b"-2 -2 -2 -3 -3"


def test_deleting_makes_an_older_version_the_newest(deployed):
    for version in ("1", "2"):
        assert publish(deployed, "gone", version, ptx(int(version))).status == 201
    assert run(deployed, "gone", "") == plus(2)
    assert deployed.request("DELETE", "/kernels/gone/2").status == 204
    assert run(deployed, "gone", "") == plus(1) and run(deployed, "gone", "2")[0] == -3
    assert deployed.request("DELETE", "/kernels/gone/2").status == 404 and deployed.get("/kernels/gone/2").status == 404
    assert deployed.request("DELETE", "/kernels/gone/1").status == 204 and run(deployed, "gone", "")[0] == -3


def test_lists_are_paged_in_order(shared):
    client = Client(shared.port, tenant=31)
    names = [(f"k{i}", f"{v}") for i in range(3) for v in range(2)]
    for name, version in reversed(names):
        assert publish(client, name, version, ptx()).status == 201
    seen, cursor = [], ""
    while cursor is not None:
        page = client.get(f"/kernels?limit=4&cursor={cursor}").json()
        seen += [(k["name"], k["version"]) for k in page["kernels"]]
        cursor = page["next"]
    assert seen == names
    assert client.get("/kernels?limit=100000").status == 400
    assert json.loads(cli(shared, "kernel", "list", "--tenant", "31", "--output", "json").stdout)[5]["version"] == "1"


def test_kernels_survive_kill_9(tmp_path):
    server = Server(tmp_path / "server").start()
    assert server.client.deploy("registry", guest("registry.c")).status == 201
    told = [publish(server.client, "kept", version, ptx(int(version))).json() for version in ("1", "2", "3")]
    assert server.client.request("DELETE", "/kernels/kept/3").status == 204
    server.kill()
    server.start()
    assert server.client.get("/kernels").json()["kernels"] == told[:2]
    assert run(server.client, "kept", "1") == plus(1) and run(server.client, "kept", "") == plus(2)
    assert server.client.metric("tensor_wasm_kernels") == 2
    server.stop()


def test_a_tenants_limits_hold(own):
    server = own()
    client = server.client
    assert client.request("PUT", "/tenants/0", json.dumps({"limits": {"kernels": 2}}), {"Content-Type": "application/json"}).status == 200
    assert [publish(client, "k", str(v), ptx(v)).status for v in (1, 2, 3)] == [201, 201, 429]
    assert "kernels" in publish(client, "k", "3", ptx(3)).message
    assert client.request("DELETE", "/kernels/k/1").status == 204 and publish(client, "k", "3", ptx(3)).status == 201
    assert client.get("/tenants/0").json()["use"]["kernels"]["now"] == 2


def test_publishing_needs_the_deploy_role(tmp_path):
    with Server(tmp_path, ["--tokens", "may-only-invoke-1:role=invoke,may-also-deploy-1:role=deploy"], dev_mode=False) as server:
        invoke, deploy = (Client(server.port, token=t) for t in ("may-only-invoke-1", "may-also-deploy-1"))
        assert publish(invoke, "k", "1", ptx()).kind == "role_denied" and publish(deploy, "k", "1", ptx()).status == 201
        assert invoke.get("/kernels/k/1").status == 200 and invoke.request("DELETE", "/kernels/k/1").kind == "role_denied"
        eventually(lambda: '"object":"k 1"' in server.log and '"action":"POST /kernels"' in server.log, what="the audit log's line")


# ---- signatures ----

def new_key(folder, name):
    """(path of a private key, its public line)"""
    line = cli(None, "kernel", "key", "--new", folder / name).stdout.strip()
    assert (folder / name).stat().st_mode & 0o777 == 0o600
    return folder / name, line


def test_signed_kernels_are_checked(own, tmp_path):
    (mine, my_line), (other, _) = new_key(tmp_path, "mine.pem"), new_key(tmp_path, "other.pem")
    (tmp_path / "keys").write_text(f"# trusted\n\n{my_line}:tenant=0,5 # me\n")
    (tmp_path / "k.ptx").write_text(ptx())
    server = own("--kernel-keys-file", tmp_path / "keys")
    make = ["kernel", "publish", tmp_path / "k.ptx", "--name", "signed"]
    assert "not signed" in cli(server, *make, "--version", "0").stdout
    assert cli(server, *make, "--version", "1", "--sign", mine).stdout.rstrip().endswith("  signed")
    assert "kernel_signature_invalid" in cli(server, *make, "--version", "2", "--sign", other, status=1).stderr
    assert "kernel_signature_invalid" in cli(server, *make, "--version", "2", "--sign", mine, "--tenant", "6", status=1).stderr
    told = server.client.get("/kernels/signed/1").json()
    assert told["signed_by"] == my_line
    # A signature is for one name, version, entry and text.
    for change in ({"name": "else"}, {"version": "7"}, {"ptx": ptx(2)}):
        body = {"name": "signed", "version": "1", "ptx": ptx(), "signature": told["signature"], **change}
        assert server.client.post_json("/kernels", body).kind == "kernel_signature_invalid", change
    assert publish(server.client, "signed", "1", ptx()).kind == "conflict", "nor can a signature be taken away"
    assert run(server.client, "signed", "1") == plus(1) and run(server.client, "signed", "0") == plus(1)
    assert "signature good" in cli(server, "kernel", "verify", "signed", "1").stdout
    assert "signature good" in cli(server, "kernel", "verify", "signed", "1", "--key", mine).stdout
    assert "not signed" in cli(server, "kernel", "verify", "signed", "0").stdout
    cli(server, "kernel", "verify", "signed", "0", "--key", mine, status=1)
    cli(server, "kernel", "verify", "signed", "1", "--key", other, status=1)
    assert cli(server, "kernel", "get", "signed", "1", "--ptx").stdout == ptx()
    cli(server, "kernel", "delete", "signed", "1")
    cli(server, "kernel", "get", "signed", "1", status=1)


@pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl program")
def test_signatures_are_those_of_openssl(own, tmp_path):
    openssl = lambda *words: subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True).stdout
    openssl("genpkey", "-algorithm", "ed25519", "-out", tmp_path / "key.pem")
    line = openssl("pkey", "-in", tmp_path / "key.pem", "-pubout").decode().splitlines()[1]
    assert cli(None, "kernel", "key", tmp_path / "key.pem").stdout.strip() == line
    (tmp_path / "keys").write_text(line + "\n")
    (tmp_path / "text").write_text(signed_text("theirs", "1", "inc", ptx()))
    openssl("pkeyutl", "-sign", "-inkey", tmp_path / "key.pem", "-rawin", "-in", tmp_path / "text", "-out", tmp_path / "signature")
    signature = base64.b64encode((tmp_path / "signature").read_bytes()).decode()
    server = own("--kernel-require-signature", env={"TENSOR_WASM_KERNEL_KEYS_FILE": str(tmp_path / "keys")})
    reply = publish(server.client, "theirs", "1", ptx(), signature=signature)
    assert reply.status == 201 and reply.json()["signed_by"] == line, reply
    (tmp_path / "k.ptx").write_text(ptx())
    told = json.loads(cli(server, "kernel", "publish", tmp_path / "k.ptx", "--name", "theirs", "--version", "1", "--sign", tmp_path / "key.pem",
                          "--output", "json").stdout)
    assert told == reply.json(), "Ed25519 is deterministic: ours is the same signature"


def test_where_signatures_are_required_nothing_else_runs(own, tmp_path):
    (mine, line), (_, other_line) = new_key(tmp_path, "mine.pem"), new_key(tmp_path, "other.pem")
    keys = tmp_path / "keys"
    keys.write_text(line)
    (tmp_path / "k.ptx").write_text(ptx())
    server = own("--kernel-keys-file", keys, "--kernel-require-signature")
    refused = publish(server.client, "k", "1", ptx())
    assert (refused.status, refused.kind) == (403, "kernel_signature_invalid") and "not signed" in refused.message
    cli(server, "kernel", "publish", tmp_path / "k.ptx", "--name", "k", "--version", "1", "--sign", mine)
    assert run(server.client, "k", "1") == plus(1)
    # The key is taken back: what it signed runs no more, from the reload on.
    keys.write_text(other_line)
    server.process.send_signal(signal.SIGHUP)
    code, text = eventually(lambda: (lambda told: told if told[0] else None)(run(server.client, "k", "1")), what="the reload")
    assert code == -3 and "none of the keys" in text
    assert server.client.get("/kernels/k/1").json()["signed_by"] is None
    # A file that is wrong changes nothing.
    keys.write_text("nonsense")
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: "the kernel keys stay as they were" in server.log, what="the refusal")
    assert "line 1" in server.log and run(server.client, "k", "1")[0] == -3


@pytest.mark.parametrize("content, wanted", [(None, "no key is trusted"), ("# nothing\n", "no key is trusted"), ("AAAA\n", "line 1"),
                                             ("MCowBQYDK2VwAyEARC4fnjaQae5HnxlFsRF9miOPB/Zof/Aj+5Z7rBZtzlU=:tenant=x", "line 1")])
def test_a_server_that_could_check_nothing_does_not_start(tmp_path, content, wanted):
    options = ["--kernel-require-signature"]
    if content is not None:
        (tmp_path / "keys").write_text(content)
        options += ["--kernel-keys-file", str(tmp_path / "keys")]
    done = subprocess.run([str(PROGRAM), "serve", "--addr", "127.0.0.1:0", "--data-dir", ":memory:", *options], capture_output=True, text=True,
                          timeout=60 * SLOW, env=clean_environment())
    assert done.returncode == 2 and wanted in done.stderr, done.stderr
