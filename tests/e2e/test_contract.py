# SPDX-License-Identifier: Apache-2.0
"""docs/api/openapi.yaml is what the server does: its routes are the table's, its examples work, and schemathesis finds nothing to say."""
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from twtest.paths import ROOT, SLOW
from twtest.server import Server

TOKEN = "sixteen-or-more-chars"
METHODS = {"get", "put", "post", "delete", "patch"}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("contract"), ["--tokens", f"{TOKEN}:tenant=*:role=admin", "--audit-log", "none"],
                dev_mode=False) as server:
        server.client.token = TOKEN
        yield server


@pytest.fixture(scope="module")
def contract(own):
    return own.client.get("/openapi.json").json()


def operations(contract):
    """(METHOD, path, operation, all its parameters resolved) of everything in the document."""
    for path, item in contract["paths"].items():
        for method in METHODS & set(item):
            parameters = item.get("parameters", []) + item[method].get("parameters", [])
            yield method.upper(), path, item[method], [resolve(contract, p) for p in parameters]


def resolve(contract, node):
    while "$ref" in node:
        target = node["$ref"]
        node = contract
        for key in target[2:].split("/"):
            node = node[key]
    return node


def test_its_routes_are_those_of_the_table(contract):
    sys.path.insert(0, str(ROOT / "tools"))
    from check_docs import rows_of
    routed = {(r[0], re.sub(r":(\w+)", r"{\1}", r[1])) for r in rows_of("src/http/routes.def", "ROUTE")}
    assert {(method, path) for method, path, _, _ in operations(contract)} == routed


def test_what_is_served_is_the_source(contract):
    source = yaml.safe_load((ROOT / "docs/api/openapi.yaml").read_text())
    assert contract["openapi"] == "3.1.0" and set(contract["paths"]) == set(source["paths"])
    assert contract["info"]["version"] != source["info"]["version"]  # filled in
    assert "x-headers" not in json.dumps(contract)
    limits = contract["components"]["schemas"]["TenantSettings"]["properties"]["limits"]["properties"]
    assert {"functions", "requests_per_s"} <= set(limits)


def test_every_reference_leads_somewhere_and_every_operation_has_a_name_of_its_own(contract):
    for target in re.findall(r'"\$ref": "(#[^"]+)"', json.dumps(contract)):
        assert resolve(contract, {"$ref": target}) is not None, target
    names = [operation["operationId"] for _, _, operation, _ in operations(contract)]
    assert len(names) == len(set(names))


def test_its_tenant_limits_are_the_servers(own, contract):
    limits = contract["components"]["schemas"]["TenantSettings"]["properties"]["limits"]["properties"]
    assert set(own.client.get("/tenants/0").json()["limits"]) == set(limits)


def test_its_examples_work(own, contract):
    """Every operation whose body and path have examples is called with them; the deploy comes first, because the others need it."""
    ran = 0
    first = sorted(operations(contract), key=lambda o: o[2]["operationId"] != "deployFunction")
    for method, path, operation, parameters in first:
        body = resolve(contract, operation.get("requestBody", {})).get("content", {}).get("application/json", {})
        wanted = {p["name"]: p.get("example") for p in parameters if p["in"] == "path"}
        if (method not in ("GET", "DELETE") and "example" not in body) or None in wanted.values() or method == "DELETE":
            continue
        url = re.sub(r"\{(\w+)\}", lambda m: wanted[m.group(1)], path)
        reply = (own.client.request(method, url, json.dumps(body["example"]), {"Content-Type": "application/json"}) if "example" in body
                 else own.client.get(url))
        assert str(reply.status) in operation["responses"] and 200 <= reply.status < 300, f"{method} {url}: {reply}"
        shown = operation["responses"][str(reply.status)].get("content", {}).get("application/json", {}).get("example")
        assert shown is None or reply.json() == shown, f"{method} {url}: {reply}"
        ran += 1
    assert ran >= 15


def test_a_copy_that_is_still_right_is_not_sent_again(own):
    own.client.request("POST", "/functions?name=tagged", bytes.fromhex("0061736d01000000"), {"Content-Type": "application/wasm"})
    for path in ("/openapi.json", "/functions/tagged", "/version", "/functions?limit=1"):
        first = own.client.get(path)
        tag = first.headers["etag"]
        for sent in (tag, tag.removeprefix("W/"), f'"x", {tag}', "*"):
            again = own.client.get(path, headers={"If-None-Match": sent})
            assert again.status == 304 and again.body == b"" and again.headers["etag"] == tag, (path, sent)
        assert own.client.get(path, headers={"If-None-Match": '"x"'}).body == first.body
        assert own.client.request("HEAD", path, headers={"If-None-Match": tag}).status == 304
    tag = own.client.get("/functions/tagged").headers["etag"]
    own.client.deploy("tagged", bytes.fromhex("0061736d01000000"), {"timeout_ms": 7}, method="PUT")
    assert own.client.get("/functions/tagged", headers={"If-None-Match": tag}).status == 200


def schemathesis():
    """The program: TW_SCHEMATHESIS, or what the path has."""
    return os.environ.get("TW_SCHEMATHESIS") or shutil.which("schemathesis")


@pytest.mark.skipif(not schemathesis(), reason="schemathesis is not installed (pip install schemathesis; or TW_SCHEMATHESIS=PROGRAM)")
def test_schemathesis_finds_nothing(own, tmp_path):
    own.client.post_json("/functions", {"name": "answer", "wasm_b64": "AGFzbQEAAAABBQFgAAF/AwIBAAcKAQZhbnN3ZXIAAAoGAQQAQSoL",
                                        "config": {"timeout_ms": 1000}})
    done = subprocess.run([schemathesis(), "--config-file", str(ROOT / "tests/schemathesis.toml"), "run",
                           f"http://127.0.0.1:{own.port}/openapi.json", "-H", f"Authorization: Bearer {TOKEN}", "--checks", "all",
                           "--max-examples", "20", "--seed", "1", "--no-color"], capture_output=True, text=True, cwd=tmp_path,
                          timeout=300 * SLOW)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
