"""Which backend renders, what the user is told about it, and that all of them give the same faces."""

from __future__ import annotations

import functools
import subprocess
import sys

import drjit
import numpy as np
import pytest

from facemix.errors import FacemixError
from facemix.render import backends
from facemix.render.backends import choose_backend, usual_processes


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with neither a GPU nor LLVM."""
    monkeypatch.setattr(backends, "_missing_cuda", lambda: "no GPU")
    monkeypatch.setattr(backends, "_missing_llvm", lambda: "the LLVM found has version 14.0.6, too old")
    return monkeypatch


def test_without_llvm_the_user_is_told_what_to_install(machine: pytest.MonkeyPatch) -> None:
    backend, sentence = choose_backend("auto")
    assert backend == "scalar"
    assert sentence is not None and "14.0.6, too old" in sentence and "libllvm19" in sentence
    with pytest.raises(ValueError, match="too old; install libLLVM"):
        choose_backend("llvm")


def test_auto_takes_the_fastest_that_there_is_and_says_nothing_about_it(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(backends, "_missing_llvm", lambda: None)
    assert choose_backend("auto") == ("llvm", None)
    machine.setattr(backends, "_missing_cuda", lambda: None)
    assert choose_backend("auto") == ("cuda", None)
    assert choose_backend("llvm") == ("llvm", None)
    assert choose_backend("scalar") == ("scalar", None)


def test_an_old_llvm_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_missing_cuda", lambda: "no GPU")
    monkeypatch.setattr(drjit, "has_backend", lambda _: True)
    monkeypatch.setattr(drjit.detail, "llvm_version", lambda: (15, 0, 7))
    assert choose_backend("auto")[0] == "scalar"
    monkeypatch.setattr(drjit.detail, "llvm_version", lambda: (19, 1, 7))
    assert choose_backend("auto") == ("llvm", None)


def test_without_a_driver_cuda_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drjit, "has_backend", lambda _: False)
    monkeypatch.delenv("DRJIT_LIBCUDA_PATH", raising=False)
    with pytest.raises(
        ValueError, match=r"backend 'cuda': .*looked for libcuda.so\); install .* or choose llvm or scal"
    ):
        choose_backend("cuda")


def test_without_optix_cuda_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drjit, "has_backend", lambda _: True)
    monkeypatch.setenv("DRJIT_LIBOPTIX_PATH", "/nowhere/libnvoptix.so")
    with pytest.raises(ValueError, match="backend 'cuda': .*looked for /nowhere/libnvoptix.so.*libnvoptix1"):
        choose_backend("cuda")
    assert choose_backend("auto")[0] != "cuda"


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="backend 'metal': expected one of auto, cuda, llvm, scalar"):
        choose_backend("metal")


def test_few_processes_share_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, on_gpu in ((2, 2), (64, 4)):
        monkeypatch.setattr(backends, "available_cores", lambda cores=cores: cores)
        assert (usual_processes("llvm"), usual_processes("scalar"), usual_processes("cuda")) == (cores, cores, on_gpu)


# Pictures. Backends need not share random numbers, so single pixels differ as those of two seeds do. With many samples,
# means over 6 x 6 pixels differ by less than these levels of 255: in the mean, and at 99 of 100 places.
MEAN, MOST = 2.2, 10.0
SIZE, MANY = 48, 144


@functools.cache
def shots(backend: str, samples: int) -> np.ndarray:
    """Three pictures, the last of them the first again, taken by a process of its own: it knows one backend only."""
    code = (
        "import sys; from facemix.render import tracing; from facemix.render.population import POPULATIONS; "
        f"from facemix.render.studio import Studio; tracing.SAMPLES = {samples}; studio = Studio({SIZE}, {backend!r}); "
        "shots = [studio.shoot(POPULATIONS['synthetic'], 5, i, 'mesh') for i in (0, 1, 0)]; "
        f"again = Studio({SIZE}, {backend!r}).shoot(POPULATIONS['synthetic'], 5, 0, 'mesh').segmentation; "
        "assert again.any() and (again == shots[0].segmentation).all(); "
        "sys.stdout.buffer.write(b''.join(shot.image.tobytes() for shot in shots))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return np.frombuffer(run.stdout, np.uint8).reshape(3, SIZE, SIZE, 3)


def require(backend: str) -> None:
    try:
        choose_backend(backend)
    except FacemixError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("backend", ("llvm", "cuda"))
def test_compiled_code_gives_the_same_pixels_again(backend: str) -> None:
    require(backend)
    first, other, again = shots(backend, MANY)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_array_equal(shots.__wrapped__(backend, MANY), [first, other, again])


@pytest.mark.parametrize(("backend", "reference"), [("llvm", "scalar"), ("cuda", "llvm")])
def test_backends_give_the_same_pictures(backend: str, reference: str) -> None:
    require(backend)
    require(reference)
    difference = np.abs(coarse(shots(backend, MANY)) - coarse(shots(reference, MANY)))
    assert difference.mean() < MEAN
    assert np.percentile(difference, 99) < MOST


def coarse(images: np.ndarray) -> np.ndarray:
    """Means over 6 x 6 pixels of images (n, SIZE, SIZE, 3)."""
    means: np.ndarray = images.reshape(-1, SIZE // 6, 6, SIZE // 6, 6, 3).mean((2, 4))
    return means


AFTER_ANOTHER = """
import numpy as np
from facemix.render.camera import Camera
from facemix.render.materials import MATERIALS, SkinTexture
from facemix.render.scene import LIGHT_SHAPE, Renderer
from facemix.render.surfaces import Mesh, joined

def square(side, z):
    points = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * side / 2 + [0.0, 0, z]
    normals, grey = np.tile([0.0, 0, 1], (4, 1)), np.full((4, 3), 0.5)
    return Mesh(points, normals, np.array([[0, 1, 2], [0, 2, 3]], np.uint32), points, grey)

def shot(*meshes):
    skin = SkinTexture(np.full((2, 2, 3), 0.5, np.float32), np.zeros((2, 2), np.float32), 0.5)
    light, camera = np.ones((*LIGHT_SHAPE, 3), np.float32), Camera(np.array([0.0, 0, 9]), 20.0, 16)
    worn = dict.fromkeys(MATERIALS, joined([])) | {"clothing": joined(meshes)}
    return renderer.render(worn, skin, light, camera, seed=0).radiance

renderer = Renderer("llvm", (2, 2), 16)
roofed = square(2.0, 0.0), square(400.0, 100.0)  # the roof is behind the camera, and keeps the light out
alone = shot(square(2.0, 0.0))
after, again = shot(*roofed), shot(*roofed)
assert alone.mean() > 1.3 * again.mean()
np.testing.assert_array_equal(after, again)
"""


def test_a_picture_owes_nothing_to_the_one_before() -> None:
    require("llvm")
    run = subprocess.run([sys.executable, "-c", AFTER_ANOTHER], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
