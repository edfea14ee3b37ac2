"""The CUDA source compiles for the GPUs it is made for, with the compiler that CuPy uses; this needs no GPU."""

from __future__ import annotations

import ctypes
import re
from functools import cache
from importlib import metadata
from itertools import pairwise

import pytest

from host_device import kernel_names
from mhfd import cuda
from mhfd.contract import FocusParams
from mhfd.kernel.fused import pairs
from mhfd.kernel.fused.layout import smooth_shared, smooths
from mhfd.kernel.fused.source import PAIR_GROUPS, PAIR_THREADS, PAIRS, SMOOTH_COLS, SMOOTH_GROUPS, source
from mhfd.kernel.plan import plan

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


@cache
def compiled(architecture: str) -> tuple[bytes, str]:
    """Machine code of the CUDA source, with `mhfd.cuda`'s options; what the assembler says of each kernel."""
    compiler, program, size = nvrtc(), ctypes.c_void_p(), ctypes.c_size_t()

    def call(name: str, *arguments: object) -> int:
        return int(getattr(compiler, name)(*arguments))

    assert call("nvrtcCreateProgram", ctypes.byref(program), source().encode(), b"mhfd.cu", 0, None, None) == 0
    options = [
        option.encode() for option in (*cuda.COMPILE_OPTIONS, f"--gpu-architecture={architecture}", "-Xptxas=-v")
    ]
    status = call("nvrtcCompileProgram", program, len(options), (ctypes.c_char_p * len(options))(*options))
    call("nvrtcGetProgramLogSize", program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    call("nvrtcGetProgramLog", program, log)
    assert status == 0, log.value.decode()
    assert call("nvrtcGetCUBINSize", program, ctypes.byref(size)) == 0
    code = ctypes.create_string_buffer(size.value)
    assert call("nvrtcGetCUBIN", program, code) == 0
    call("nvrtcDestroyProgram", ctypes.byref(program))
    return code.raw, log.value.decode()


def registers(architecture: str) -> dict[str, tuple[int, int]]:
    """Registers that a thread of each kernel has, and bytes of registers that it puts aside in memory."""
    pattern = r"function '(\w+)'.*?(\d+) bytes spill stores.*?Used (\d+) registers"
    found = re.findall(pattern, compiled(architecture)[1], re.DOTALL)
    return {name: (int(used), int(spilled)) for name, spilled, used in found}


@pytest.mark.parametrize("architecture", ["sm_70", "sm_80", "sm_90"])
def test_every_kernel_compiles(architecture: str) -> None:
    code, _ = compiled(architecture)
    assert [name for name in kernel_names() if f".text.{name}\0".encode() not in code] == []


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_the_kernels_of_the_default_scales_keep_their_numbers_in_registers(architecture: str) -> None:
    used = registers(architecture)
    taps = {
        len(step.taps) for n in (16, 64) for step in smooths(plan(FocusParams(n_scales=n), (1024, 1024), close=True))
    }
    others = [f"pair_{first}_{second}" for first, second in PAIRS] + ["noise_coarse", "noise_fine"]
    for kernel in [*others, *(f"smooth_{count}" for count in taps), "merge_1", "merge_2", "seams", "peaks"]:
        assert used[kernel][1] <= 24, kernel


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_short_steps_of_the_cascade_leave_room_for_three_blocks(architecture: str) -> None:
    threads, used = SMOOTH_COLS * SMOOTH_GROUPS, registers(architecture)
    assert all(3 * threads * used[f"smooth_{count}"][0] <= 65536 for count in range(1, 8))
    # An A100's multiprocessor has 164 KiB of shared memory, of which a block also takes 1 KiB for itself.
    short = [s for s in smooths(plan(FocusParams(), (1024, 1024), close=True)) if len(s.taps) <= 7]
    assert all(3 * (smooth_shared(step) + 1024) <= 164 * 1024 for step in short)


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_two_steps_in_a_launch_leave_room_for_three_blocks(architecture: str) -> None:
    threads, used = PAIR_THREADS * PAIR_GROUPS, registers(architecture)
    assert all(3 * threads * used[f"pair_{first}_{second}"][0] <= 65536 for first, second in PAIRS)
    steps = plan(FocusParams(), (1024, 1024), close=True).steps
    taken = [pairs.shared(*two) for two in pairwise(steps) if pairs.fits(*two)]
    assert taken and all(3 * (shared + 1024) <= 164 * 1024 for shared in taken)


def test_the_oldest_architecture_is_the_oldest_that_is_accepted() -> None:
    assert cuda.LEAST_CAPABILITY == (7, 0)
