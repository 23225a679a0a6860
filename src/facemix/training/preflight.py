"""What a training needs of its settings and of the machine, checked before anything is opened or computed."""

import os
import shutil
import sysconfig
from pathlib import Path

from facemix.config import Params
from facemix.errors import FacemixError
from facemix.training import backbones, processes
from facemix.training.model import STRIDE


def check(params: Params) -> None:
    """Tries the backbone at the input's size, and looks for what `torch.compile` calls.

    Raises:
        FacemixError: the backbone does not fit, there is no such device, or a compiler is missing.
    """
    backbones.check(params.model.backbone, params.model.input_size, STRIDE)
    device = processes.choose_device(params.training.device)
    if params.training.compile:
        check_compiler(device.type)


def check_compiler(device: str) -> None:
    """Looks for the compiler and the headers by which `torch.compile` builds its kernels.

    Args:
        device: `cpu`, where PyTorch calls a C++ compiler, or `cuda`, where Triton calls a C compiler.

    Raises:
        FacemixError: one is missing; the message says which, and how to do without.
    """
    variable, usual = ("CXX", ["g++"]) if device == "cpu" else ("CC", ["gcc", "clang"])
    names = [os.environ[variable]] if os.environ.get(variable) else usual
    missing = []
    if not any(shutil.which(name) for name in names):
        missing.append(f"a {'C++' if device == 'cpu' else 'C'} compiler ({' or '.join(names)})")
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.exists():
        missing.append(f"Python's headers ({header})")
    if missing:
        raise FacemixError(
            f"training.compile: true needs {' and '.join(missing)}, not found here; install it (Debian: "
            "apt install g++ python3-dev), or set training.compile to false"
        )
