# SPDX-License-Identifier: Apache-2.0
"""One server serves most tests; those that stop, starve or break a server start their own."""
import itertools
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from twtest.paths import PRESET, PROGRAM
from twtest.server import Server, sanitizer_report

numbers = itertools.count()


def pytest_configure(config):
    config.addinivalue_line("markers", "stops_kernels: a kernel of this test would go on for ever")


def pytest_collection_modifyitems(items):
    for item in items:
        if PRESET == "tsan" and item.get_closest_marker("stops_kernels"):
            item.add_marker(pytest.mark.skip(reason="ThreadSanitizer holds a signal back until its thread calls into the C library, which a kernel never does"))


@pytest.fixture(scope="session", autouse=True)
def programs():
    if not PROGRAM.exists() or not PROGRAM.with_name("tensor-wasm-compiler").exists():
        pytest.exit(f"{PROGRAM} is not built; script/build makes it", returncode=2)


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """The shared server itself. Its limits are short so that runaway tests are."""
    with Server(tmp_path_factory.mktemp("shared"), ["--kernel-timeout-ms", "2000", "--invoke-timeout-ms", "20000"]) as server:
        yield server


@pytest.fixture
def client(shared):
    return shared.client


@pytest.fixture(autouse=True)
def still_alive(request):
    """After every test that used it the shared server still has to be there; the next test gets it back."""
    yield
    if "shared" not in request.fixturenames:
        return
    shared = request.getfixturevalue("shared")
    if shared.has_ended:
        status, log = shared.process.returncode, shared.log
        shared.restart()
        pytest.fail(f"the server died with {status}:\n{log[-4000:]}")


@pytest.fixture(autouse=True)
def no_sanitizer_report():
    """What a server had to say fails the test, whether the server ended well, was killed, or goes on."""
    yield
    assert (report := sanitizer_report()) is None, report


@pytest.fixture
def name():
    """A function's name that no other test uses."""
    return f"f{next(numbers)}"


@pytest.fixture
def server(tmp_path):
    """A server of one's own, not started."""
    own = Server(tmp_path)
    yield own
    own.stop()
