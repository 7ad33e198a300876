# SPDX-License-Identifier: Apache-2.0
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from twtest.paths import PROGRAM
from twtest.server import sanitizer_report


@pytest.fixture(scope="session", autouse=True)
def programs():
    if not PROGRAM.exists() or not PROGRAM.with_name("tensor-wasm-compiler").exists():
        pytest.exit(f"{PROGRAM} is not built; script/build makes it", returncode=2)


@pytest.fixture(autouse=True)
def no_sanitizer_report():
    yield
    assert (report := sanitizer_report()) is None, report
