# SPDX-License-Identifier: Apache-2.0
"""h2spec, the conformance tests of HTTP/2, strict and whole."""
import re
import subprocess

import pytest

from twtest.gotool import go_program
from twtest.paths import SLOW


@pytest.mark.skipif(SLOW > 1, reason="h2spec takes a server that is slow to answer for one that does not")
def test_h2spec_has_nothing_to_say(shared):
    done = subprocess.run([go_program("h2spec"), str(shared.port), "/functions"], capture_output=True, text=True, timeout=600)
    said = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", done.stdout)
    assert done.returncode == 0 and said and int(said[1]) >= 140 and said[1] == said[2], done.stdout[-5000:] + done.stderr[-1000:]
