# SPDX-License-Identifier: Apache-2.0
"""One HTTP/1.1 request, one answer. A connection each, so that tests do not depend on one another."""
import http.client
import json

from .paths import SLOW


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    @property
    def kind(self):
        """The error's kind, or None."""
        return self.json()["error"]["kind"] if self.status >= 400 else None

    @property
    def message(self):
        return self.json()["error"]["message"]

    def __repr__(self):
        return f"<{self.status} {self.body[:600]!r}>"


class Client:
    """Speaks to one server, as one tenant and with one token if they are given."""

    def __init__(self, port, tenant=None, token=None):
        self.port, self.tenant, self.token = port, tenant, token

    def request(self, method, path, body=None, headers=(), timeout=100):
        sent = dict(headers)
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        if self.tenant is not None:
            sent["X-TensorWasm-Tenant"] = str(self.tenant)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout * SLOW)
        try:
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post_json(self, path, value, headers=(), **more):
        return self.request("POST", path, json.dumps(value), {"Content-Type": "application/json", **dict(headers)}, **more)

    def deploy(self, name, wasm, config=None, method="POST"):
        """Deploys bytes; with settings as JSON, else bare."""
        if config is None and method == "POST":
            return self.request("POST", f"/functions?name={name}", wasm, {"Content-Type": "application/wasm"}, timeout=200)
        import base64
        body = {"name": name, "wasm_b64": base64.b64encode(wasm).decode()}
        if config is not None:
            body["config"] = config
        path = "/functions" if method == "POST" else f"/functions/{name}"
        return self.request(method, path, json.dumps(body), {"Content-Type": "application/json"}, timeout=200)

    def call(self, name, export=None, args=None, headers=(), **more):
        """Invokes by JSON."""
        body = {k: v for k, v in (("export", export), ("args", args)) if v is not None}
        return self.post_json(f"/functions/{name}/invoke", body, headers, **more)

    def raw(self, name, data=b"", export=None, headers=(), **more):
        """Invokes with bytes."""
        query = f"?export={export}" if export else ""
        return self.request("POST", f"/functions/{name}/invoke{query}", data, {"Content-Type": "application/octet-stream", **dict(headers)},
                            **more)

    def forget_jobs(self):
        """Stops the jobs that run and forgets those that have ended; true when there is none."""
        told = self.get("/jobs?limit=1000")
        jobs = told.json().get("jobs", [])
        for job in jobs:
            self.request("DELETE", f"/jobs/{job['job_id']}")
        return told.status == 200 and not jobs

    def result(self, name, export=None, args=None):
        """What a call that has to work returns."""
        reply = self.call(name, export, args)
        assert reply.status == 200, reply
        return reply.json()["result"]

    def metrics(self):
        """{name{labels}: value} of every sample."""
        reply = self.get("/metrics")
        assert reply.status == 200, reply
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in reply.body.decode().splitlines()
                if line and not line.startswith("#")}

    def metric(self, name):
        """The sum of a metric's samples over all labels."""
        return sum(value for key, value in self.metrics().items() if key.split("{")[0] == name)
