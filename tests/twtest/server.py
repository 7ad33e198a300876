# SPDX-License-Identifier: Apache-2.0
"""The server as a process: start, wait until it is ready, stop and look at how it ended."""
import os
import pathlib
import re
import signal
import subprocess
import time

from .client import Client
from .paths import PROGRAM, SLOW


def eventually(condition, seconds=60, what="the condition"):
    """Waits until condition() is true and returns its value. Generous: the machine may do other things."""
    end = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what} did not come true within {seconds * SLOW} s"
        time.sleep(0.01)


# A slow machine must not have calls refused that a quick one would let in: only tests of that wish for it.
PATIENT = {"TENSOR_WASM_QUEUE_WAIT_MS": "0"}


# Wasmtime's handler of a guest's fault asks for memory: the guest's code, which raised it, was in no such call.
SANITIZER = {"TSAN_OPTIONS": "report_signal_unsafe=0"}


def clean_environment(more=()):
    """Ours without any setting of TensorWasm's."""
    return {**{k: v for k, v in os.environ.items() if not k.startswith(("TENSOR_WASM_", "TW_FAULT"))}, **SANITIZER, **dict(more)}


REPORT = re.compile(rb"Sanitizer(?!: reported \d)|: runtime error: ")
read_of_logs = {}  # how much of each server's log has been searched


def sanitizer_report():
    """The first report that a server's log has and that was not told before, however that server ended; None without one."""
    for path, start in read_of_logs.items():
        if path.exists() and path.stat().st_size > start:
            new = path.read_bytes()[start:]
            read_of_logs[path] = start + new.rfind(b"\n") + 1
            if found := REPORT.search(new):
                read_of_logs[path] = start + len(new)
                line = new.rfind(b"\n", 0, found.start()) + 1
                return f"{path}:\n{new[line:line + 6000].decode(errors='replace')}"
    return None


def filters_of(pid):
    """How a process is shut in: seccomp's mode and the number of its filters, where the kernel tells."""
    try:
        return re.findall(r"^Seccomp\w*:\s*(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)
    except OSError:
        return None


def children_of(pid):
    """{pid: name} of all descendants that live (zombies do not)."""
    parents, names = {}, {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
                names[int(entry.name)] = pathlib.Path(os.readlink(entry / "exe")).name
            except OSError:
                continue
            parents[int(entry.name)] = int(text.rsplit(")", 1)[1].split()[1])
    found, seen = {}, {pid}
    while True:
        new = {p for p, parent in parents.items() if parent in seen and p not in seen}
        if not new:
            return found
        seen |= new
        found.update({p: names[p] for p in new})


class Server:
    def __init__(self, folder, options=(), env=(), dev_mode=True):
        self.folder = pathlib.Path(folder)
        self.data = self.folder / "data"
        self.options = list(options) + (["--allow-dev-mode"] if dev_mode else [])
        self.env = env
        self.process = self.client = None
        self.fixed_port = 0
        self.log_path = self.folder / "log"
        read_of_logs[self.log_path] = 0

    def spawn(self):
        """Starts the process and does not wait."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log_from = self.log_path.stat().st_size if self.log_path.exists() else 0
        command = [PROGRAM, "serve", "--addr", f"127.0.0.1:{self.fixed_port}", "--data-dir", self.data, *self.options]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=clean_environment({**PATIENT, **dict(self.env)}))
        return self

    def start(self):
        """Starts the process and waits until /readyz says yes."""
        self.spawn()
        eventually(lambda: self.port or self.has_ended, what="the server's start")
        assert not self.has_ended, f"the server ended at its start:\n{self.log}"
        self.client = Client(self.port)
        eventually(lambda: self.client.get("/readyz").status == 200, what="/readyz")
        return self

    @property
    def log(self):
        """What this start wrote."""
        return self.log_path.read_bytes()[self.log_from:].decode(errors="replace")

    @property
    def port(self):
        found = re.search(r'listening.*\bport[=":]+(\d+)', self.log)
        return int(found.group(1)) if found else None

    @property
    def has_ended(self):
        return self.process.poll() is not None

    def compilers(self):
        return [pid for pid, name in children_of(self.process.pid).items() if name == "tensor-wasm-compiler"]

    def compilers_at_work(self):
        """Those that compile something: they have shut themselves in. One more may wait, and the fork servers do."""
        outside = filters_of(self.process.pid)
        return [pid for pid in self.compilers() if filters_of(pid) not in (None, outside)]

    def restart(self):
        """After it died: once more on the same port."""
        self.fixed_port = self.port
        self.start()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM, and it has to end well."""
        if self.process is None:
            return
        if not self.has_ended:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(120 * SLOW)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not end after SIGTERM:\n{self.log[-3000:]}") from None
        self.process = None
        assert status == 0, f"the server ended with {status}:\n{self.log[-3000:]}"
        assert (report := sanitizer_report()) is None, report

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        elif self.process and not self.has_ended:
            self.kill()
