# SPDX-License-Identifier: Apache-2.0
"""Programs that tests build with Go, once, into the cache of costly build results; a test that wants one is skipped where it cannot be had."""
import hashlib
import os
import pathlib
import shutil
import subprocess

import pytest

from .paths import ROOT

CACHE = pathlib.Path(os.environ.get("TW_CACHE") or pathlib.Path.home() / ".cache/tensor-wasm")


def go_program(name):
    """The path of tests/NAME's program. Its go.mod and go.sum pin every module by version and hash."""
    folder = ROOT / "tests" / name
    digest = hashlib.sha256(b"".join((folder / part).read_bytes() for part in ("main.go", "go.mod", "go.sum"))).hexdigest()[:16]
    program = CACHE / f"{name}-{digest}" / name
    if program.exists():
        return program
    if not shutil.which("go"):
        pytest.skip(f"tests/{name} is a Go program and Go is not installed")
    program.parent.mkdir(parents=True, exist_ok=True)
    made = program.with_suffix(".new")
    built = subprocess.run(["go", "build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", made, "."], cwd=folder, capture_output=True, text=True,
                           env={**os.environ, "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOFLAGS": ""})
    if built.returncode:
        pytest.skip(f"tests/{name} did not build, perhaps for want of a module proxy: {built.stderr[-300:]}")
    made.rename(program)
    return program
