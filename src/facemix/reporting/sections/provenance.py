"""What went in: photographs that are there twice, a card of each set, and how to get the same."""

import platform
import subprocess
from collections import Counter
from importlib.metadata import PackageNotFoundError, version

import cv2
import numpy as np
import numpy.typing as npt

from facemix import config
from facemix.checks import pairs as leaks
from facemix.config import PARAMS_FILE
from facemix.faces import formats, geometry, pose
from facemix.faces.face import STAND_IN, STAND_IN_SHOWN
from facemix.faces.packs import Pack
from facemix.reporting import figures, panels
from facemix.reporting.page import Code, Missing, More, Piece, Table, Text, chart, photograph
from facemix.reporting.sections.found import Found

PACKAGES = ("facemix", "torch", "timm", "numpy", "opencv-python", "scipy", "mitsuba", "dvc", "mlflow")

Rows = npt.NDArray[np.int64]


def leaked(found: Found) -> list[Piece]:
    """Leaks, counted and shown."""
    pairs = leaks.read()
    if pairs is None:
        return [Missing(what="`leaks` has not run.", command="dvc repro leaks")]
    tested, validated = (len(leaks.leaking(pairs, purpose)) for purpose in ("test", "validation"))
    counts = leaks.counts(pairs)
    pieces: list[Piece] = [
        Text(
            text=f"{tested} test face{'' if tested == 1 else 's'} and {validated} validation "
            f"face{'' if validated == 1 else 's'} show a photograph (or a rendered person) that is also in training "
            "or validation. "
            + (
                "`facemix leaks --exclude && dvc repro` leaves the training faces among them out."
                if tested or validated
                else ""
            )
        )
    ]
    if counts:
        pieces.append(
            Table(
                caption="Pairs of faces that show one photograph, by their splits",
                header=["splits", "pairs", "leak"],
                rows=[
                    [
                        f"{first} / {second}",
                        str(count),
                        "yes" if leaks.is_leak({"split_a": first, "split_b": second}) else "no",
                    ]
                    for (first, second), count in counts.items()
                ],
            )
        )
        if leaks.SHEET.exists() and (image := cv2.imread(str(leaks.SHEET))) is not None:
            shown = min(len(pairs), leaks.SHOWN)
            pieces.append(
                photograph(
                    np.ascontiguousarray(image[..., ::-1]).astype(np.uint8),
                    alt=f"{shown} of the pairs side by side, with their splits, likeness and names.",
                    caption=f"{shown} of {len(pairs)} pairs, leaks first, the most alike first; all of them are in "
                    f"`{leaks.TABLE}`." + (f" Real faces: {STAND_IN_SHOWN}." if found.stand_in else ""),
                    wide=True,
                )
            )
    return pieces


def data(found: Found) -> list[Piece]:
    """A card for each split of the real faces and each source of synthetic ones."""
    pieces: list[Piece] = []
    for role, pack in (("real", found.real), ("synthetic", found.synthetic)):
        if pack is None:
            pieces.append(Missing(what=f"There is no {role} pack.", command="dvc repro prepare"))
            continue
        known = {source.name: source.format for source in getattr(found.params.sources, role)}
        sources = np.array([id_.split("/", 1)[0] for id_ in pack.ids.tolist()])
        for name in np.unique(sources).tolist():
            splits = [one for one in leaks.PURPOSES if np.any((sources == name) & (pack.splits == one))]
            for split in splits:
                rows = np.flatnonzero((sources == name) & (pack.splits == split))
                shown = {config.RENDERED["real"]: STAND_IN_SHOWN, config.RENDERED["synthetic"]: "rendered"}.get(
                    name, name
                )
                title = f"{shown}: {'synthetic training faces' if (role, split) == ('synthetic', 'train') else split}"
                pieces += card(found, pack, rows, title, f"{role}-{name}-{split}", known.get(name))
    return pieces


def card(found: Found, pack: Pack, rows: Rows, title: str, name: str, format_: str | None) -> list[Piece]:
    """What is known of some faces of a pack.

    Args:
        name: of its figure.
        format_: that of its source; None: facemix rendered it.
    """
    source = pack.ids[rows[0]].split("/", 1)[0]
    poses = pose.estimate(pack.landmarks[rows], pack.scheme)
    known = np.isfinite(poses).all(axis=1)
    sizes = geometry.square_side(pack.boxes[rows])
    low, middle, high = np.quantile(sizes, [0.05, 0.5, 0.95])
    subsets = Counter(pack.subsets[rows].tolist())
    path = found.figures / f"set-{name}.png"
    figures.faces_of_a_set(path, poses[known], sizes)
    turns = (
        [
            [angle, f"mean {mean:+.1f}°, standard deviation {sd:.1f}°"]
            for angle, mean, sd in zip(
                ("yaw", "pitch", "roll"), poses[known].mean(axis=0), poses[known].std(axis=0), strict=True
            )
        ]
        if known.any()
        else []
    )
    licence = (
        "rendered by facemix from CC0 assets: free to use and to publish"
        if format_ is None
        else formats.licence(format_, source)
    )
    listed = ", ".join(f"{subset} {count}" for subset, count in sorted(subsets.items()) if subset != STAND_IN)
    table = Table(
        caption=f"{title}, as a card",
        header=["about", "what is known"],
        rows=[
            ["faces", f"{len(rows)} of {len(np.unique(pack.photos[rows]))} photographs or rendered people"],
            *([["subsets", listed]] if any(subsets) and listed else []),
            ["licence", licence],
            ["format", f"{format_ or 'rendered by the pipeline'}"],
            [
                "face size",
                f"median {middle:.0f} pixels, 90 % between {low:.0f} and {high:.0f} (longer side of the box)",
            ],
            *turns,
        ],
        words=True,
    )
    drawn = panels.sheet(pack.images, pack.landmarks, rows)
    return [
        More(
            summary=f"{title}: {len(rows)} faces",
            pieces=[
                table,
                chart(
                    path,
                    alt="Histograms of yaw, pitch, roll and face size; the card gives their means and spreads.",
                    caption=f"{title}: head pose, estimated from the points, and face size. Yaw turns to the person's "
                    "left, pitch nods down, roll tilts to the person's right.",
                ),
                photograph(
                    drawn,
                    alt=f"Some of the faces, evenly chosen, with their points: {title}",
                    caption=f"{title}: evenly chosen faces with their points.",
                    wide=True,
                ),
            ],
        )
    ]


def reproduce(found: Found) -> list[Piece]:
    """Versions, parameters and commands."""
    sources = found.params.sources
    imports = [
        f"facemix import {source.format} FOLDER --name {source.name} --role {role}"
        for role in ("real", "synthetic")
        for source in getattr(sources, role)
    ]
    commit = _git("rev-parse", "HEAD") or "unknown"
    changed = _git("status", "--porcelain", "--", "src", "data/splits", "dvc.yaml", "packages.yaml", str(PARAMS_FILE))
    digests = [
        [f"{role} faces", pack.digest] for role, pack in (("real", found.real), ("synthetic", found.synthetic)) if pack
    ]
    return [
        Code(
            label="Commands",
            text="\n".join(
                [
                    f"git checkout {commit}",
                    "pip install -c constraints.txt -e .",
                    *(f"{line}  # unless data/sources has it" for line in imports),
                    "dvc repro",
                ]
            ),
        ),
        *(
            [
                Text(
                    text="Some changes are not committed: the parameters below are those that were used, but code or "
                    "splits may differ from that commit."
                )
            ]
            if changed
            else []
        ),
        Table(
            caption="Versions and contents",
            header=["what", "which"],
            rows=[
                ["git commit", commit],
                *digests,
                ["seeds", ", ".join(str(seed) for seed in sorted({one.seed for one in found.trained}))],
                ["Python", platform.python_version()],
                *([name, _version(name)] for name in PACKAGES),
            ],
            words=True,
        ),
        More(
            summary="All parameters",
            pieces=[Code(label="params.yaml", text=PARAMS_FILE.read_text(encoding="utf-8"))]
            if PARAMS_FILE.exists()
            else [Missing(what=f"{PARAMS_FILE} was not found.", command=f"git checkout {PARAMS_FILE}")],
        ),
    ]


def _git(*arguments: str) -> str:
    """What git prints; nothing where there is no git."""
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, encoding="utf-8", errors="replace", check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
