# SPDX-License-Identifier: Apache-2.0
"""Guests and kernels from their sources, kept beside the build and made again when a source changes."""
import functools
import hashlib
import os
import subprocess

from .paths import BUILD, EXAMPLES, ROOT

OUT = BUILD / "test-guests"
SDK = ROOT / "sdk/c"
GUESTS = ROOT / "tests/guests"
GOLDEN = ROOT / "tests/golden/ptx"
CLANG = "clang-22"


def _make(text, suffix, command):
    """Runs command(source, out) once for this text and this command; the path of what it made."""
    key = hashlib.sha256(repr((text, command(None, None))).encode()).hexdigest()[:24]
    out = OUT / f"{key}{suffix}"
    if not out.exists():
        OUT.mkdir(parents=True, exist_ok=True)
        # Several processes may make it at once: each in files of its own, and the last one's stays.
        source, half = OUT / f"{key}.{os.getpid()}.source", OUT / f"{key}.{os.getpid()}.half"
        source.write_text(text)
        done = subprocess.run([str(c) for c in command(source, half)], capture_output=True, text=True)
        assert done.returncode == 0, f"{command(source, half)}\n{done.stdout}{done.stderr}"
        half.rename(out)
        source.unlink()
    return out


@functools.cache
def wat(text, *flags):
    """The bytes of a module written as text."""
    return _make(text, ".wasm", lambda source, out: ["wat2wasm", "--debug-names", *flags, source, "-o", out]).read_bytes()


@functools.cache
def guest(name):
    """The bytes of tests/guests/NAME, a .c for wasm32-wasi or a .wat."""
    text = (GUESTS / name).read_text()
    if name.endswith(".wat"):
        return wat(text)
    text += f"// {hashlib.sha256((SDK / 'tensor_wasm.h').read_bytes()).hexdigest()}\n"
    return _make(text, ".wasm", lambda source, out: [
        CLANG, "--target=wasm32-wasi", "--sysroot=/usr", "-O1", "-g0", "-Wno-deprecated", "-I", SDK, "-x", "c", source, "-o", out,
        "-Wl,--export-dynamic"]).read_bytes()


@functools.cache
def kernel(name):
    """The path of the PTX of tests/golden/ptx/NAME.cu."""
    return _make((GOLDEN / f"{name}.cu").read_text() + (GOLDEN / "cuda_min.h").read_text().replace("#pragma once", "//"), ".ptx",
                 lambda source, out: [CLANG, "-x", "cuda", "--cuda-device-only", "--cuda-gpu-arch=sm_80", "--cuda-feature=+ptx78",
                                      "-nocudainc", "-nocudalib", "-O3", "-S", "-I", GOLDEN, GOLDEN / f"{name}.cu", "-o", out])


@functools.cache
def example(name):
    """The bytes of examples/NAME; builds the examples when they are not there."""
    path = EXAMPLES / f"{name}.wasm"
    if not path.exists():
        done = subprocess.run(["cmake", "--build", str(BUILD), "--target", "examples"], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return path.read_bytes()


# ---- Wasm binaries, made by hand where a text would be too long or has to be wrong ----

def leb(value):
    out = bytearray()
    while True:
        out.append(value & 0x7F | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(out)


def section(number, body):
    return bytes([number]) + leb(len(body)) + body


def big_module(functions, seed=1, steps=400):
    """A valid module whose compilation takes a while: many functions of long straight arithmetic. run(x) calls the first one."""
    body_of_types = leb(1) + b"\x60\x01\x7f\x01\x7f"
    bodies = []
    for number in range(functions):
        code = b"\x00" + b"\x20\x00"
        for step in range(steps):
            constant = (seed * 31 + number * 7 + step) % 60
            code += b"\x41" + leb(constant) + (b"\x6a", b"\x6c", b"\x73", b"\x78")[(step + number) % 4]
        code += b"\x0b"
        bodies.append(leb(len(code)) + code)
    return (b"\0asm\1\0\0\0" + section(1, body_of_types) + section(3, leb(functions) + b"\0" * functions) + section(5, b"\x01\x00\x01") +
            section(7, leb(2) + b"\x03run\x00\x00" + b"\x06memory\x02\x00") + section(10, leb(functions) + b"".join(bodies)))
