# SPDX-License-Identifier: Apache-2.0
"""Log lines when nobody reads them: they are lost and counted, and no request waits."""
import fcntl
import os
import re
import signal
import socket
import subprocess
import threading

from twtest.build import wat
from twtest.client import Client
from twtest.paths import PROGRAM, SLOW
from twtest.server import clean_environment, eventually

F = wat('(module (func (export "f") (result i32) (i32.const 7)))')
F_SETPIPE_SZ = 1031


class Piped:
    """A server whose standard error is a pipe that is read only up to the line that names the port, until `read_on`."""

    def __init__(self, folder):
        self.out, write_end = os.pipe()
        fcntl.fcntl(write_end, F_SETPIPE_SZ, 4096)
        self.process = subprocess.Popen([str(PROGRAM), "serve", "--addr", "127.0.0.1:0", "--data-dir", str(folder / "data"), "--allow-dev-mode",
                                         "--log", "info,http=debug", "--audit-log", "none"], stderr=write_end, env=clean_environment({}))
        os.close(write_end)
        self.text = b""
        while not (found := re.search(rb"listening.*\bport=(\d+)", self.text)):
            more = os.read(self.out, 4096)
            assert more, self.text
            self.text += more
        self.client = Client(int(found.group(1)))

    def lose(self):
        """Asks until log lines are lost; how many are."""
        request = b"GET /functions/none HTTP/1.1\r\nHost: x\r\n\r\n"
        last = b"GET /functions/none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        while not (lost := self.client.metrics().get("tensor_wasm_log_lines_lost_total", 0)):
            with socket.create_connection(("127.0.0.1", self.client.port), timeout=60 * SLOW) as one:
                one.sendall(request * 200 + last)
                while one.recv(65536):
                    pass
        return lost

    def read_on(self):
        def run():
            while more := os.read(self.out, 65536):
                self.text += more
        self.reader = threading.Thread(target=run)
        self.reader.start()


def test_a_reader_that_hangs_costs_lines_and_no_request(tmp_path):
    server = Piped(tmp_path)
    try:
        assert server.client.deploy("f", F).status == 201
        server.lose()
        assert server.client.result("f", "f") == 7
        lost = server.client.metrics()["tensor_wasm_log_lines_lost_total"]
        server.read_on()
        eventually(lambda: b"log lines were lost" in server.text, what="the line that says so")
        counted = int(re.search(rb"log lines were lost.*count=(\d+)", server.text).group(1))
        assert counted >= lost and server.client.result("f", "f") == 7
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60 * SLOW) == 0
        server.reader.join()
        lines = server.text.decode().splitlines()
        assert all(re.match(r"20\d\d-\d\d-\d\dT[\d:.]+Z (INFO |DEBUG|WARN ) \w+: ", line) for line in lines), "a line was torn"
        assert "cli: stopped" in lines[-1]
    finally:
        server.process.kill()
        server.process.wait()


def test_the_end_does_not_wait_for_a_reader_that_hangs(tmp_path):
    server = Piped(tmp_path)
    try:
        server.lose()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60 * SLOW) == 0
    finally:
        server.process.kill()
        server.process.wait()
        os.close(server.out)
