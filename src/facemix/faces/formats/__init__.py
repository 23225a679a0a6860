"""Sets of faces as they lie on disk: one reader per format, each yielding faces and nothing else.

A reader takes a folder, decodes no image, and goes on after a broken face, so that all of them are reported at once.
A new format is a new module and a new row here.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from facemix.errors import FacemixError
from facemix.faces import schemes
from facemix.faces.face import BrokenFace, Face
from facemix.faces.formats import (
    coco,
    cofw,
    csv_points,
    cvat,
    dgfaces,
    dlib_xml,
    facesynthetics,
    label_studio,
    labelme,
    lapa,
    lp,
    photos,
    pts,
    w300,
    w300_vw,
    wflw,
    yolo_pose,
)
from facemix.faces.formats.inspection import check
from facemix.faces.formats.listing import visible
from facemix.faces.formats.w300 import OFFICIAL_300W
from facemix.faces.schemes import Scheme

__all__ = ["ARCHIVES", "FORMATS", "OFFICIAL_300W", "Archive", "Format", "check", "licence", "read"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How sets of a kind are read, and what there is to know about them."""

    read: Callable[[Path, Scheme | None], Iterator[Face | BrokenFace]]
    """The faces of a folder, in a scheme; without it in that of the format, or the one that the files fit."""
    expected: str
    """What a folder of this kind holds."""
    role: str = "real"
    """What such sets usually are."""
    scheme: str | None = None
    """The scheme that such sets usually have; None: the files tell, or the user."""
    shallow: bool = False
    """Only the folder itself is looked at, so that one above or below it may be meant."""
    detect: Callable[[Path], list[str]] | None = None
    """The names of the schemes that a folder's files fit."""

    def fitting(self, root: Path) -> list[str]:
        """The names of the schemes that a folder's files fit."""
        return self.detect(root) if self.detect else [self.scheme] if self.scheme else []


FORMATS: Mapping[str, Format] = {
    "300w": Format(
        read=w300.read,
        shallow=True,
        scheme="ibug68",
        expected=f"folders {', '.join(OFFICIAL_300W)} (or some of them) with images and .pts files",
    ),
    "300w_lp": Format(read=lp.read, scheme="ibug68", expected="images and .mat files of the same names"),
    "coco": Format(read=coco.read, detect=coco.detect, expected="JSON files of COCO keypoints, and their images"),
    "csv": Format(
        read=csv_points.read, detect=csv_points.detect, expected=".csv or .tsv files of points, and their images"
    ),
    "cvat": Format(
        read=cvat.read, detect=cvat.detect, expected="XML files exported as 'CVAT for images 1.1', and their images"
    ),
    "dgfaces_v1": Format(
        read=dgfaces.read_v1,
        shallow=True,
        scheme="ibug68",
        role="synthetic",
        expected="folders environment_*/camera_*/ with visible_spectrum_*.png and standard_keypoints.json",
    ),
    "dgfaces_v2": Format(
        read=dgfaces.read_v2,
        shallow=True,
        scheme="ibug68",
        role="synthetic",
        expected="folders datapoint_*/camera/ with visible_spectrum_*.png and key_points/",
    ),
    "dlib": Format(read=dlib_xml.read, detect=dlib_xml.detect, expected="XML files of imglab, and their images"),
    "facesynthetics": Format(
        read=facesynthetics.read,
        shallow=True,
        scheme="ibug68",
        detect=facesynthetics.detect,
        role="synthetic",
        expected="files NNNNNN.png (or .jpg) and NNNNNN_ldmks.txt, or tars of them as WebDataset has them",
    ),
    "label_studio": Format(
        read=label_studio.read, detect=label_studio.detect, expected="JSON exports of Label Studio, and their images"
    ),
    "labelme": Format(read=labelme.read, detect=labelme.detect, expected="images and .json files of the same names"),
    "lapa": Format(
        read=lapa.read, scheme="lapa106", expected="folders images/ and landmarks/, in train/, val/ and test/"
    ),
    "merl_rav": Format(read=pts.read_merl_rav, scheme="ibug68", expected="images and .pts files of the same names"),
    "pts": Format(read=pts.read, detect=pts.detect, expected="images and .pts files of the same names"),
    "wflw": Format(read=wflw.read, scheme="wflw98", expected="list_98pt_rect_attr_*.txt files, and their images"),
    "yolo_pose": Format(
        read=yolo_pose.read, detect=yolo_pose.detect, expected="a YAML file with kpt_shape, images/ and labels/"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """How sets of a kind are written out whose pictures are inside of other files."""

    extract: Callable[[Path, Path, int], list[BrokenFace]]
    """Writes the pictures of a folder and their points into an empty one, of videos each k-th frame; what is broken."""
    expected: str
    """What a folder of this kind holds."""
    format: str
    """The format of what is written, a key of `FORMATS`."""
    scheme: str
    videos: bool = False


ARCHIVES: Mapping[str, Archive] = {
    "300vw": Archive(
        extract=w300_vw.extract,
        expected="a folder for each video, with vid.avi and annot/NNNNNN.pts",
        format="csv",
        scheme="ibug68",
        videos=True,
    ),
    "cofw": Archive(
        extract=lambda root, folder, _: cofw.extract(root, folder),
        expected="COFW_train_color.mat and COFW_test_color.mat, or one of them",
        format="coco",
        scheme="cofw29",
    ),
}

LICENCES: dict[tuple[str, str], str] = {
    ("300w", "300w"): "research only; the photographs belong to their owners",
    ("dgfaces_v1", ""): "Apache-2.0",
    ("dgfaces_v2", ""): "Apache-2.0",
    ("facesynthetics", "facesynthetics"): "Microsoft's research licence, non-commercial",
}
"""Of the sets that the formats are named after, by format and name; any set may come in the layout of the others."""


def read(
    format: str,  # noqa: A002
    root: Path,
    group: str | None = None,
    scheme: Scheme | None = None,
) -> tuple[list[Face], list[BrokenFace]]:
    """The faces of a folder, sorted by id, and the broken ones.

    Args:
        format: a key of `FORMATS`.
        root: the folder.
        group: a regular expression that finds in an id what names the photograph (its first group, or the whole
            match), or `column:NAME`; by default the files or names tell, where they are such as the format or people
            have them.
        scheme: of the points; by default that of the format, or the only one that the files fit.

    Raises:
        FacemixError: the format is unknown, the folder holds nothing of that format or points of no or another scheme,
            or `group` does not fit the ids.
    """
    if format in ARCHIVES:
        raise FacemixError(f"format {format}: its pictures are inside of other files; `facemix import` writes them out")
    if format not in FORMATS:
        raise FacemixError(f"unknown format {format!r}, expected one of {', '.join([*FORMATS, *ARCHIVES])}")
    expected = FORMATS[format].expected
    if root.is_file():
        raise FacemixError(f"{root}: found a file, expected a folder of {expected}; use the path {root.parent}")
    if not root.is_dir():
        raise FacemixError(f"{root}: no such folder, expected {expected}; check the path")
    faces: list[Face] = []
    broken: list[BrokenFace] = []
    for item in FORMATS[format].read(root, scheme):
        if isinstance(item, Face):
            faces.append(item)
        else:
            broken.append(item)
    if not faces and not broken:
        found = f"no faces in the format {format}, expected {expected}"
        raise FacemixError(f"{root}: {found}; {_advice(format, root)}")
    faces.sort(key=lambda face: face.id)
    return (photos.by_name(faces) if group is None else photos.say(faces, group)), broken


def licence(format: str, name: str) -> str:  # noqa: A002
    """The licence of a set as far as its format and name tell, else `unknown`."""
    return LICENCES.get((format, name)) or LICENCES.get((format, "")) or "unknown"


def _advice(format: str, root: Path) -> str:  # noqa: A002
    """What to do about a folder without faces of a format: another format, another folder, or look for oneself."""
    neighbours = [*filter(Path.is_dir, visible(root)), *root.resolve().parents[:2]] if FORMATS[format].shallow else []
    for folder in neighbours:
        if _holds(format, folder):
            return f"{folder} does: use that path"
    if held := [name for name in FORMATS if _holds(name, root)]:
        return f"it holds {' or '.join(held)}: use the format {' or '.join(held)}"
    return "the folder is empty" if not visible(root) else "check the path and the format"


def _holds(format: str, root: Path) -> bool:  # noqa: A002
    """Whether a folder has faces of a format, in whatever scheme."""
    try:
        fitting = FORMATS[format].fitting(root)
        return any(next(FORMATS[format].read(root, schemes.load(name)), None) is not None for name in fitting[:1])
    except FacemixError:
        return False
