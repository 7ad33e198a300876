# SPDX-License-Identifier: Apache-2.0
"""Where things are, and how much slower this build is than a release build."""
import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PRESET = os.environ.get("TW_PRESET", "release")
BUILD = ROOT / "build" / PRESET
PROGRAM = BUILD / "bin" / "tensor-wasm"
EXAMPLES = BUILD / "examples"
SLOW = 6 if "san" in PRESET else 1  # what time limits are multiplied by under sanitizers
