"""The CUDA source compiles for the GPUs it is made for, with the compiler that CuPy uses; this needs no GPU."""

from __future__ import annotations

import ctypes
from functools import cache
from importlib import metadata

import pytest

from host_device import kernel_names
from mhfd import cuda
from mhfd.kernel.fused.source import source

PACKAGE = "nvidia-cuda-nvrtc-cu12"


@cache
def nvrtc() -> ctypes.CDLL:
    """The compiler of the package, where it is installed."""
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        pytest.skip(f"no CUDA compiler: pip install {PACKAGE}")
    (library,) = [file for file in files if file.name == "libnvrtc.so.12"]
    return ctypes.CDLL(str(library.locate()))


def compiled(architecture: str) -> bytes:
    """Machine code of the CUDA source, with `mhfd.cuda`'s options."""
    compiler, program, size = nvrtc(), ctypes.c_void_p(), ctypes.c_size_t()

    def call(name: str, *arguments: object) -> int:
        return int(getattr(compiler, name)(*arguments))

    assert call("nvrtcCreateProgram", ctypes.byref(program), source().encode(), b"mhfd.cu", 0, None, None) == 0
    options = [option.encode() for option in (*cuda.COMPILE_OPTIONS, f"--gpu-architecture={architecture}")]
    status = call("nvrtcCompileProgram", program, len(options), (ctypes.c_char_p * len(options))(*options))
    call("nvrtcGetProgramLogSize", program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    call("nvrtcGetProgramLog", program, log)
    assert status == 0, log.value.decode()
    assert call("nvrtcGetCUBINSize", program, ctypes.byref(size)) == 0
    code = ctypes.create_string_buffer(size.value)
    assert call("nvrtcGetCUBIN", program, code) == 0
    call("nvrtcDestroyProgram", ctypes.byref(program))
    return code.raw


@pytest.mark.parametrize("architecture", ["sm_70", "sm_80", "sm_90"])
def test_every_kernel_compiles(architecture: str) -> None:
    code = compiled(architecture)
    assert [name for name in kernel_names() if f".text.{name}\0".encode() not in code] == []


def test_the_oldest_architecture_is_the_oldest_that_is_accepted() -> None:
    assert cuda.LEAST_CAPABILITY == (7, 0)
