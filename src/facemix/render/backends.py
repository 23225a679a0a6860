"""What renders: an NVIDIA GPU, code compiled by LLVM, or plain C++ code. Points are the same on each of them."""

from __future__ import annotations

import ctypes
import os

from facemix.errors import FacemixError
from facemix.faces.parallel import available_cores

VARIANTS = {"cuda": "cuda_ad_rgb", "llvm": "llvm_ad_rgb", "scalar": "scalar_rgb"}
BACKENDS = ("auto", *VARIANTS)
OLDEST_LLVM = 16  # 14 is refused by Mitsuba, 15 crashes while compiling
GPU_PROCESSES = 4  # that share one GPU: each keeps a context of some hundred megabytes there


def choose_backend(backend: str) -> tuple[str, str | None]:
    """The backend to use, one of VARIANTS, and what the user should be told about the choice, if anything.

    `auto` takes the first that can be used.

    Raises:
        FacemixError: unknown, or asked for and not to be had.
    """
    if backend not in BACKENDS:
        raise FacemixError(f"backend {backend!r}: expected one of {', '.join(BACKENDS)}")
    if backend == "scalar":
        return "scalar", None
    no_cuda = _missing_cuda() if backend != "llvm" else None
    if backend == "cuda" and no_cuda:
        raise FacemixError(f"backend 'cuda': {no_cuda}, or choose llvm or scalar")
    if backend != "llvm" and no_cuda is None:
        return "cuda", None
    no_llvm = _missing_llvm()
    if no_llvm is None:
        return "llvm", None
    advice = f"{no_llvm}; install libLLVM {OLDEST_LLVM} or newer (Debian: libllvm19)"
    if backend == "llvm":
        raise FacemixError(f"backend 'llvm': {advice}, or choose scalar")
    return "scalar", f"rendering without LLVM, which takes several times as long: {advice}"


def usual_processes(backend: str) -> int:
    """How many processes render unless told otherwise: one for each core, and not too many for the memory of a GPU."""
    cores = available_cores()
    return min(cores, GPU_PROCESSES) if backend == "cuda" else cores


def _missing_cuda() -> str | None:
    """Why CUDA cannot be used and what to do, if so."""
    import drjit

    if not drjit.has_backend(drjit.JitBackend.CUDA):
        path = os.environ.get("DRJIT_LIBCUDA_PATH")
        looked = f"DRJIT_LIBCUDA_PATH={path}" if path else "libcuda.so"
        return f"no CUDA driver with a GPU was found (looked for {looked}); install the driver of NVIDIA"
    if os.name == "nt":  # there it is part of the driver
        return None
    optix = os.environ.get("DRJIT_LIBOPTIX_PATH") or "libnvoptix.so.1"
    try:
        ctypes.CDLL(optix)
    except OSError:
        return (
            f"OptiX was not found (looked for {optix}); install it with the driver of NVIDIA (Debian: libnvoptix1; "
            "containers need NVIDIA_DRIVER_CAPABILITIES=all), or name it in DRJIT_LIBOPTIX_PATH"
        )
    return None


def _missing_llvm() -> str | None:
    """Why LLVM cannot be used, if so."""
    import drjit

    if not drjit.has_backend(drjit.JitBackend.LLVM):
        path = os.environ.get("DRJIT_LIBLLVM_PATH")
        return f"no usable LLVM at DRJIT_LIBLLVM_PATH={path}" if path else "no usable LLVM was found"
    version = drjit.detail.llvm_version()
    if version[0] < OLDEST_LLVM:
        return f"the LLVM found has version {'.'.join(map(str, version))}, too old"
    return None
