"""300W-LP and AFLW2000-3D (Zhu et al., 2016): `NAME.jpg` beside `NAME.mat` (Matlab, version 5), at any depth.

The 68 points are `pt3d_68` (3, 68), of which the depth is dropped, or else `pt2d` (2, 68); pixels are 1-based. They are
places on the head, not on the visible outline, so those of the far side of a turned face are stated as well, and
nothing says which are hidden. -1 in both coordinates is a point without a label. `pt2d` of AFLW2000-3D holds AFLW's 21
points and is not read.

300W-LP has up to some twenty generated poses of each photograph and a flipped copy of everything (`AFW_Flip/`): the
poses stand together as one photograph, the copies are left out.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemix.faces.face import BrokenFace, Face
from facemix.faces.formats import fitting, pairs, points
from facemix.faces.schemes import Scheme

_PHOTO = re.compile(r"((?:AFW|HELEN)_[0-9]+|IBUG_image_[0-9]+)_[0-9]+_[0-9]+|(LFPW_image_[a-z]+_[0-9]+)_[0-9]+")
"""`HELEN_123_1_5`: photograph 123, its face 1, pose 5; LFPW has one face of each photograph."""


def read(root: Path, scheme: Scheme | None) -> Iterator[Face | BrokenFace]:
    """The faces of all folders that hold images with `.mat` files of the same names.

    Raises:
        FacemixError: another scheme than `ibug68`, by number of points.
    """
    scheme = fitting.own("ibug68", scheme, "300w_lp")
    for folder in pairs.folders(root):
        if any(part.endswith("_Flip") for part in folder.relative_to(root).parts):
            continue
        images, annotations = _originals(pairs.images(folder)), _originals(pairs.files(folder, [".mat"]))
        if {path.stem for path in images} & {path.stem for path in annotations}:  # a toolbox has .mat files too
            for pair in pairs.pairs(images, annotations):
                try:
                    yield pair if isinstance(pair, BrokenFace) else _face(root, pair, scheme)
                except BrokenFace as broken:
                    yield broken


def _originals(paths: list[Path]) -> list[Path]:
    return [path for path in paths if not path.stem.endswith("_Flip")]


def _face(root: Path, pair: pairs.Pair, scheme: Scheme) -> Face:
    stated = _points(pair.annotation)
    missing = (stated == -1).all(axis=1)
    states = np.where(missing, 0, 2).astype(np.uint8)
    stated = np.where(missing[:, None], np.nan, stated)
    landmarks, states = points.checked(pair.annotation, stated, scheme, states, origin=1)
    id_ = pairs.id_of(pair.image, root)
    match = _PHOTO.fullmatch(pair.image.stem)
    return Face(
        id=id_,
        subset="",
        photo=match[1] or match[2] if match else id_,
        image=pair.image,
        landmarks=landmarks,
        states=states,
        scheme=scheme,
        files=(pair.image, pair.annotation),
    )


def _points(path: Path) -> npt.NDArray[np.float64]:
    """The points (68, 2) of a `.mat`.

    Raises:
        BrokenFace: it cannot be read, or holds no array of 68 points.
    """
    from scipy.io import loadmat  # late: only this format needs it

    try:
        content = loadmat(path, variable_names=["pt3d_68", "pt2d"])
    except NotImplementedError:
        raise BrokenFace(path, "a .mat file of version 7.3, expected version 5 as in 300W-LP; convert it") from None
    except Exception as error:  # damaged files raise whatever the parser stumbles over
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BrokenFace(path, f"not a .mat file that can be read ({reason}); restore the file") from None
    shapes = []
    for key, rows in (("pt3d_68", 3), ("pt2d", 2)):
        if key in content:
            array = content[key]
            if array.shape == (rows, 68) and array.dtype.kind in "fiu":
                return np.asarray(array[:2].T, dtype=np.float64)
            shapes.append(f"{key} {array.shape}")
    raise BrokenFace(
        path, f"found {' and '.join(shapes) or 'no points'}, expected pt3d_68 (3, 68) or pt2d (2, 68); remove the face"
    )
