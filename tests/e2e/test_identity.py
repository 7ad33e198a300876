# SPDX-License-Identifier: Apache-2.0
"""Who may do what, on every route there is: no token, the wrong tenant, another tenant's things, too small a role. The routes come from the
table of routes, so that a new one is walked too."""
import json
import re
import urllib.parse

import pytest

from twtest.build import guest
from twtest.client import Client
from twtest.paths import ROOT
from twtest.server import Server

GUEST = guest("limits.wat")
TOKENS = {"mine": "mine-token-0123456789:tenant=7:role=deploy", "theirs": "theirs-token-0123456789:tenant=8:role=admin",
          "invoker": "invoker-token-0123456789:tenant=7:role=invoke", "expired": "expired-token-0123456789:tenant=7:role=deploy:expires=2024-02-29"}
NOBODYS = "ffffffffffffffffffffffffffffffff"


def routes():
    """(method, template, access, role) of the table."""
    text = (ROOT / "src/http/routes.def").read_text()
    return re.findall(r'^ROUTE\("(\w+)", "([^"]+)", \w+, (\w+), (\w+), \w+\)', text, re.M)


GUARDED = [(method, template) for method, template, access, _ in routes() if access == "TOKEN"]
ROLES = {(method, template): role for method, template, _, role in routes()}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    env = {"TENSOR_WASM_API_TOKENS": ",".join(TOKENS.values()), "TENSOR_WASM_API_AUDIT_LOG": "none"}
    with Server(tmp_path_factory.mktemp("identity"), dev_mode=False, env=env) as server:
        yield server


def client_of(own, who, tenant=7):
    return Client(own.port, tenant, TOKENS[who].split(":")[0])


def strings(value):
    """Every short text in an answer: among them are the ids and names of what there is."""
    if isinstance(value, dict):
        return [s for v in value.values() for s in strings(v)]
    if isinstance(value, list):
        return [s for v in value for s in strings(v)]
    return [value] if isinstance(value, str) and 0 < len(value) <= 128 else []


def send(client, method, template, things):
    path = template
    for thing in things:
        path = re.sub(r":\w+", urllib.parse.quote(thing, safe=""), path, count=1)
    body = None if method in ("GET", "DELETE") else "{}"
    return client.request(method, path, body, {"Content-Type": "application/json"} if body else {})


@pytest.fixture(scope="module")
def things(own):
    """One of everything that tenant 7 can have, and what its lists say of it. Routes that are not there yet answer 404."""
    mine = client_of(own, "mine")
    assert mine.deploy("secret-name", GUEST).status == 201
    assert mine.post_json("/functions/secret-name/invoke-async", {"export": "add", "args": [1, 2]}).status == 202
    known = ["secret-name"]
    for path, body in (("/instances", {"function": "secret-name"}), ("/instances", {"function_id": "secret-name"})):
        made = mine.post_json(path, body)
        if made.status < 300:
            known += strings(made.json())
            for id in strings(made.json()):
                mine.post_json(f"/instances/{urllib.parse.quote(id, safe='')}/snapshot", {})
            break
    for method, template in GUARDED:
        if method == "GET" and ":" not in template and template not in ("/devices", "/tenants"):
            known += strings(mine.get(template).json())
    return sorted(set(known))


def test_no_route_answers_without_a_good_token(own):
    assert len(GUARDED) >= 14
    strangers = [Client(own.port), Client(own.port, token="never-seen-0123456789"), client_of(own, "expired"),
                 Client(own.port, token=TOKENS["mine"].split(":")[0].upper()), Client(own.port, token="")]
    for method, template in GUARDED:
        for stranger in strangers:
            reply = send(stranger, method, template, [NOBODYS, "1"])
            assert (reply.status, reply.kind) == (401, "unauthorized"), (method, template, reply)
            assert reply.headers["www-authenticate"].startswith("Bearer")


def test_the_tenants_scope_comes_before_everything_else(own, things):
    """The same answer whether the thing exists or not, and whether the role would do."""
    stranger = client_of(own, "theirs", tenant=7)
    for method, template in GUARDED:
        for thing in (NOBODYS, things[0]):
            reply = send(stranger, method, template, [thing, thing])
            assert (reply.status, reply.kind) == (403, "tenant_scope_denied"), (method, template, reply)


def test_another_tenants_things_are_as_good_as_none(own, things):
    mine, theirs = client_of(own, "mine"), client_of(own, "theirs", tenant=8)
    walked = 0
    for method, template in GUARDED:
        if ":" not in template or template.startswith("/tenants"):
            continue
        nobody = send(theirs, method, template, [NOBODYS, NOBODYS])
        for thing in things:
            walked += 1
            reply = send(theirs, method, template, [thing, thing])
            # 400 where the thing has not the form the route wants: said without looking for it.
            assert reply.status in (404, 400), (method, template, thing, reply)
            if reply.status == 404:
                assert reply.kind == "not_found"
            assert "tenant 7" not in reply.message
            if reply.status == nobody.status == 404:  # the same words but for the name that was asked for
                assert reply.message.replace(thing, "?") == nobody.message.replace(NOBODYS, "?")
    assert walked >= 50
    for path in ("/functions", "/jobs"):
        assert not any(theirs.get(path).json()[path[1:]]), path
    assert mine.result("secret-name", "add", [2, 3]) == 5  # nothing was deleted or replaced
    assert len(mine.get("/jobs").json()["jobs"]) == 1


def test_a_list_of_another_tenant_shows_nothing_of_ours(own, things):
    theirs = client_of(own, "theirs", tenant=8)
    for method, template in GUARDED:
        if method != "GET" or ":" in template or template == "/devices":
            continue
        text = theirs.get(template).body.decode()
        assert "secret-name" not in text and not any(t in text for t in things if len(t) >= 16), template


def test_a_role_that_is_too_small_is_refused_before_the_thing_is_looked_for(own, things):
    invoker = client_of(own, "invoker")
    for method, template in GUARDED:
        if ROLES[method, template] == "INVOKE":
            continue
        for thing in (NOBODYS, "secret-name"):
            reply = send(invoker, method, template, [thing, thing])
            assert (reply.status, reply.kind) == (403, "role_denied"), (method, template, reply)
    assert invoker.result("secret-name", "add", [1, 1]) == 2


def test_an_admin_of_one_tenant_sees_and_sets_no_other(own):
    theirs = client_of(own, "theirs", tenant=8)
    assert theirs.get("/tenants/8").status == 200
    for refused in (theirs.get("/tenants/7"), theirs.get("/tenants"),
                    theirs.request("PUT", "/tenants/8", json.dumps({"limits": {}}), {"Content-Type": "application/json"})):
        assert (refused.status, refused.kind) == (403, "tenant_scope_denied")
