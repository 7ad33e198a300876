#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What traces cost: the gateway's trivial function without them, and with every request traced and sent (OTLP over HTTP) to an nginx that
takes and forgets. Both servers have core 0 in turn; the load generator and the collector share core 1."""
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import urllib.request

from common import BIN, OUT, alternate, median, save, show, version
from gateway import WAT, load, wait_for

COLLECTOR = 18085


def start_collector(folder):
    conf = folder / "collector.conf"
    conf.write_text(f"""daemon off; worker_processes 1; pid {folder}/collector.pid; error_log /dev/null;
events {{ worker_connections 64; }}
http {{ access_log off; client_max_body_size 8m; client_body_buffer_size 8m; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{COLLECTOR}; location / {{ return 200; }} }} }}
""")
    collector = subprocess.Popen(["taskset", "-c", "1", shutil.which("nginx", path="/usr/sbin:/usr/bin"), "-c", conf, "-p", folder],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(f"http://127.0.0.1:{COLLECTOR}/")
    return collector


def start_server(folder, port, *options):
    server = subprocess.Popen(["taskset", "-c", "0", BIN / "tensor-wasm", "serve", "--addr", f"127.0.0.1:{port}", "--data-dir", folder / str(port),
                               "--allow-dev-mode", "--threads", "1", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(f"http://127.0.0.1:{port}/readyz")
    (folder / "f.wat").write_text(WAT)
    subprocess.run(["wat2wasm", folder / "f.wat", "-o", folder / "f.wasm"], check=True)
    subprocess.run([BIN / "tensor-wasm", "deploy", folder / "f.wasm", "--server", f"http://127.0.0.1:{port}"], check=True, stdout=subprocess.DEVNULL)
    return server


def spans(port):
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    return {result: int(count) for result, count in re.findall(r'tensor_wasm_trace_spans_total\{result="(\w+)"\} (\d+)', text)}


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        collector = start_collector(folder)
        plain = start_server(folder, 18083)
        traced = start_server(folder, 18084, "--otlp-endpoint", f"http://127.0.0.1:{COLLECTOR}/v1/traces")
        try:
            figures = alternate({"no traces": lambda: load("http://127.0.0.1:18083/functions/f/invoke", plain, True),
                                 "all requests traced": lambda: load("http://127.0.0.1:18084/functions/f/invoke", traced, True)})
            counted = spans(18084)
        finally:
            for process in (plain, traced, collector):
                process.send_signal(signal.SIGTERM)
                process.wait()
    summary = {n: {k: median([r[k] for r in rounds]) for k in rounds[0]} for n, rounds in figures.items()}
    summary["spans"] = counted
    base = summary["no traces"]["rps"]
    rows = [[n, summary[n]["rps"], summary[n]["cpu_us"], summary[n]["rps"] / base] for n in figures]
    show("Traces, one core, 64 connections", ["contender", "requests/s", "CPU us/request", "x no traces"], rows)
    print(f"  spans: {counted}")
    save("traces", {"nginx": version("/usr/sbin/nginx", "-v"), "wrk": version("wrk", "-v")}, figures, summary)


if __name__ == "__main__":
    main()
