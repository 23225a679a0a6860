"""Datagen's DGFaces in both of its on-disk formats: renders, and points projected from 3-D.

Both store where each point is in 3-D, the camera, and where the point falls in the image as **row, column** with the
origin at the image's upper left *corner* (the middle of 128 pixels is 64.0). v1 rounds these to whole pixels and names
them `[row, col]`, v2 keeps them exact and calls the row `x` and the column `y`. So the points are projected anew,
u = K E [X; 1], moved by half a pixel to 0-based pixel centres, and compared with what the file states.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from facemix.faces.face import BrokenFace, Face
from facemix.faces.formats import fitting, points
from facemix.faces.formats.listing import visible
from facemix.faces.schemes import Scheme

Array = npt.NDArray[np.float64]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    scenes: str
    """Glob of the folders of one scene each, which hold `camera*` folders."""
    keypoints: str
    """The points' file in a camera folder."""
    parse: Callable[[Any], tuple[Array, Array]]
    """Content of that file -> points in 3-D (n, 3), and as stated in the image (n, 2) row, column."""
    tolerance: float
    """Largest distance in pixels, per axis, between a stated point and its projection."""


def _parse_v1(content: Any) -> tuple[Array, Array]:
    def rows(key: str) -> Array:
        return np.array([content[key][str(i + 1)] for i in range(len(content[key]))], dtype=np.float64)

    return rows("keypoints_3d_coordinates"), rows("keypoints_2d_coordinates")


def _parse_v2(content: Any) -> tuple[Array, Array]:
    def rows(key: str, axes: str) -> Array:
        keypoints = content["face"]["standard"]
        numbers = range(1, len(keypoints) + 1)
        return np.array([[keypoints[f"{i:02d}"][key][axis] for axis in axes] for i in numbers], np.float64)

    return rows("global_3d", "xyz"), rows("pixel_2d", "xy")


def _parse_camera(content: Any) -> tuple[Array, Array]:
    return np.array(content["intrinsic_matrix"], np.float64), np.array(content["extrinsic_matrix"], np.float64)


_V1 = _Layout(
    scenes="environment_*",
    keypoints="standard_keypoints.json",
    parse=_parse_v1,
    tolerance=1.5,  # half a pixel of it is the rounding
)
_V2 = _Layout(
    scenes="datapoint_*",
    keypoints="key_points/face_standard_key_points.json",
    parse=_parse_v2,
    tolerance=1.0,
)


def read_v1(root: Path, scheme: Scheme | None = None) -> Iterator[Face | BrokenFace]:
    """The faces of `environment_*/camera*/visible_spectrum_*.png`; a broken one comes as a `BrokenFace`."""
    return _read(root, _V1, fitting.own("ibug68", scheme, "dgfaces_v1"))


def read_v2(root: Path, scheme: Scheme | None = None) -> Iterator[Face | BrokenFace]:
    """The faces of `datapoint_*/camera*/visible_spectrum_*.png`; a broken one comes as a `BrokenFace`."""
    return _read(root, _V2, fitting.own("ibug68", scheme, "dgfaces_v2"))


def _read(root: Path, layout: _Layout, scheme: Scheme) -> Iterator[Face | BrokenFace]:
    for scene in _folders(root, layout.scenes):
        cameras = _folders(scene, "camera*")
        if not cameras:
            yield BrokenFace(
                scene, "no folder camera*, expected an image and its points; restore it or remove the folder"
            )
        for camera in cameras:
            try:
                yield from _faces(root, camera, layout, scheme)
            except BrokenFace as broken:
                yield broken


def _folders(root: Path, pattern: str) -> list[Path]:
    return [path for path in visible(root) if path.is_dir() and fnmatch(path.name, pattern)]


def _faces(root: Path, camera: Path, layout: _Layout, scheme: Scheme) -> list[Face]:
    """The renders of one camera: the same points under one light or several."""
    keypoints, matrices = camera / layout.keypoints, camera / "camera_metadata.json"
    images = [path for path in visible(camera) if fnmatch(path.name, "visible_spectrum_*.png")]
    if not images:
        raise BrokenFace(camera, "no visible_spectrum_*.png, expected the render; restore it or remove the folder")
    landmarks, states = points.checked(keypoints, _landmarks(keypoints, matrices, layout, len(scheme)), scheme)
    actor = camera.parent / "actor_metadata.json"
    photo = camera.parent.name
    files = [keypoints, matrices]
    if actor.exists():
        photo = str(_parsed(actor, lambda content: content.get("identity_id", photo)))
        files.append(actor)
    return [
        Face(
            id=image.relative_to(root).with_suffix("").as_posix(),
            subset="",
            photo=photo,
            image=image,
            landmarks=landmarks,
            states=states,
            scheme=scheme,
            files=(image, *files),
        )
        for image in images
    ]


def _landmarks(keypoints: Path, matrices: Path, layout: _Layout, n: int) -> Array:
    """Points (n, 2) x, y in pixels, 0-based pixel centres."""
    scene, stated = _parsed(keypoints, layout.parse)
    intrinsic, extrinsic = _parsed(matrices, _parse_camera)
    if (scene.shape, stated.shape) != ((n, 3), (n, 2)):
        found = f"coordinates of shape {scene.shape} and {stated.shape}"
        raise BrokenFace(keypoints, f"{found}, expected ({n}, 3) and ({n}, 2); remove the face")
    if (intrinsic.shape, extrinsic.shape) != ((3, 3), (3, 4)):
        found = f"matrices of shape {intrinsic.shape} and {extrinsic.shape}"
        raise BrokenFace(matrices, f"{found}, expected an intrinsic (3, 3) and an extrinsic (3, 4); restore the file")
    corner_based = project(scene, intrinsic, extrinsic)
    distance = np.abs(corner_based - stated[:, ::-1]).max(axis=1)
    if not (distance <= layout.tolerance).all():  # NaN is no agreement either
        worst = int(np.argmax(np.nan_to_num(distance, nan=np.inf)))
        raise BrokenFace(
            keypoints,
            f"point {worst + 1} is stated at row, column {stated[worst].tolist()}, but the camera sees it at "
            f"{corner_based[worst, ::-1].round(2).tolist()}; correct or remove the face",
        )
    return corner_based - 0.5


def project(scene: Array, intrinsic: Array, extrinsic: Array) -> Array:
    """Where a camera sees points: (n, 2) x, y in pixels from the image's upper left corner.

    Args:
        scene: (n, 3) in metres.
        intrinsic: (3, 3) K.
        extrinsic: (3, 4) E, from the scene to the camera.
    """
    # What cannot be seen (behind or in the plane of the camera) disagrees with what the file states, and is found so.
    with np.errstate(all="ignore"):
        seen = (scene @ extrinsic[:, :3].T + extrinsic[:, 3]) @ intrinsic.T
        return np.asarray(seen[:, :2] / seen[:, 2:], dtype=np.float64)


def _parsed(path: Path, parse: Callable[[Any], T]) -> T:
    text = points.read_text(path)
    try:
        return parse(json.loads(text))
    except KeyError as error:
        raise BrokenFace(path, f"the key {error} is missing; correct or remove the face") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise BrokenFace(path, f"not JSON of the expected form ({error}); correct or remove the face") from None
