"""A rendered video of one person whose head, face and gaze move smoothly, with the exact place of each point.

Camera, light and background stay. The person takes one pose of the population after the other, one a second, each with
an expression and a gaze, and moves between them as people do: with the least jerk (T. Flash and N. Hogan, "The
coordination of arm movements", Journal of Neuroscience 1985).
"""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from facemix.errors import FacemixError
from facemix.files import whole_folder, write_table
from facemix.render import tables, workers
from facemix.render.backends import usual_processes
from facemix.use import film

if TYPE_CHECKING:
    from facemix.render.person import Person
    from facemix.render.population import Population
    from facemix.render.studio import Sitting

VIDEO, TRUTH, ABOUT = "clip.mp4", "truth.csv", "clip.json"
SCHEME = tables.ANNOTATED
RATE = 30
"""Frames per second."""
STEP = 30
"""Frames from one pose to the next."""
MOVING = ("yaw", "pitch", "roll", "torso_yaw", "gaze_yaw", "gaze_pitch")
"""What of a person moves, besides the expression."""
CHANGES: dict[str, object] = {
    "pictures": 1000,
    "face_share_low": 0.45,
    "face_share_high": 0.45,
    "shift_sd": 0.0,
    "occluder": 0.0,  # what is held before a face would move with the head
    "sunglasses": 0.0,
    "blur": 0.0,
    "grey": 0.0,
}
"""How the population of a clip differs from that of single pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that decides a clip.

    Raises:
        FacemixError: a value that cannot be used.
    """

    frames: int = 300
    size: int = 256
    """Side of a frame in pixels."""
    seed: int = 0
    labels: str = "steady"
    """`mesh`: points on the true surface; `steady`: where a person would click, without tremor."""
    backend: str = "auto"

    def __post_init__(self) -> None:
        for key, low, high in (("frames", 1, 999 * STEP), ("size", 32, 2048), ("seed", 0, 2**63 - 1)):
            if not low <= getattr(self, key) <= high:
                raise FacemixError(f"{key}: found {getattr(self, key)}, expected {low} to {high}")


def minimum_jerk(time: float) -> float:
    """Share of a movement from rest to rest that is done at a share of its time, both from 0 to 1."""
    return time**3 * (10 - 15 * time + 6 * time**2)


def moment(population: Population, seed: int, frame: int) -> Person:
    """The person in one frame: a pure function of its arguments."""
    from facemix.render.person import person

    first, before, after = (person(population, seed, k) for k in (0, frame // STEP, frame // STEP + 1))
    done = minimum_jerk(frame % STEP / STEP)
    moved = {key: (1 - done) * getattr(before, key) + done * getattr(after, key) for key in MOVING}
    units = before.expression.keys() | after.expression.keys()
    expression = {
        unit: (1 - done) * before.expression.get(unit, 0.0) + done * after.expression.get(unit, 0.0) for unit in units
    }
    return dataclasses.replace(first, expression=dict(sorted(expression.items())), **moved)


def sitting(head: Any, population: Population, settings: Settings, frame: int) -> Sitting:
    """The person of one frame before the camera, which is aimed once at the face as it looks ahead."""
    from facemix.render.studio import sit

    now = moment(population, settings.seed, frame)
    still: dict[str, Any] = dict.fromkeys(MOVING, 0.0)
    ahead = dataclasses.replace(now, expression={}, **still)
    camera = sit(head, ahead, settings.size).camera
    return dataclasses.replace(sit(head, now, settings.size), camera=camera)


def render_clip(out: Path, settings: Settings, processes: int | None = None) -> None:
    """Renders a clip into a folder: clip.mp4, truth.csv and clip.json. It is there whole or not at all.

    Args:
        out: the folder; a clip of equal settings that is there stays.
        settings: what decides the clip.
        processes: by default one for each core.

    Raises:
        FacemixError: the folder holds something else, or the generator failed.
        OSError: the disk is full or read-only.
    """
    if out.exists():
        _check_same(out, settings)
        return
    with whole_folder(out) as beside, workers.stopped_by_sigterm():
        job = _Filming(out=beside, settings=settings)
        count = usual_processes(settings.backend) if processes is None else processes
        with closing(workers.finished(job, range(settings.frames), count)) as done:
            for _ in tqdm(done, "rendering", total=settings.frames, unit="frame", disable=None):
                pass
        rows: list[dict[str, object]] = []
        with film.written(beside / VIDEO, RATE) as add:
            for frame in range(settings.frames):
                image = cv2.imread(str(_picture(beside, frame)))
                assert image is not None
                add(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
                points = np.load(_points(beside, frame))
                rows += [
                    {"frame": frame, "time": round(frame / RATE, 4), "point": k, "x": round(x, 4), "y": round(y, 4)}
                    for k, (x, y) in enumerate(points.tolist())
                ]
        write_table(beside / TRUTH, rows)
        (beside / ABOUT).write_text(json.dumps(dataclasses.asdict(settings), indent=2) + "\n", encoding="utf-8")
        shutil.rmtree(beside / "frames")


def _check_same(out: Path, settings: Settings) -> None:
    try:
        found = json.loads((out / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise FacemixError(f"{out}: is there, but holds no clip; use another folder") from None
    expected = dataclasses.asdict(settings)
    if found != expected:
        raise FacemixError(
            f"{out}: holds a clip of other settings, found {found}, expected {expected}; use another folder"
        )
    print(f"{out}: the clip is there", file=sys.stderr)


def read_truth(folder: Path) -> npt.NDArray[np.float64]:
    """The points (frames, K, 2) of a clip, pixels."""
    with (folder / TRUTH).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    frames = 1 + int(rows[-1]["frame"])
    return np.array([[float(row["x"]), float(row["y"])] for row in rows]).reshape(frames, -1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filming:
    """Takes the picture of each frame, with grain of its own, and computes its points."""

    out: Path
    settings: Settings
    done: str = "rendered"

    def begin(self) -> Callable[[int], None]:
        from facemix.render.population import POPULATIONS, changed
        from facemix.render.studio import Studio

        settings = self.settings
        population = changed(POPULATIONS["synthetic"], CHANGES)
        studio = Studio(settings.size, settings.backend, tables.load(SCHEME))
        (self.out / "frames").mkdir(exist_ok=True)

        def render(frame: int) -> None:
            seated = sitting(studio.head, population, settings, frame)
            grain = seated.person.noise
            # The grain of a picture is drawn by its number, which is that of the light as well, and so stays.
            still = dataclasses.replace(seated, person=dataclasses.replace(seated.person, noise=0.0, jpeg=97))
            face = studio.photograph(still, settings.labels)
            image = _grained(face.image, grain, np.random.default_rng([settings.seed, frame]))
            np.save(_points(self.out, frame), face.landmarks)
            cv2.imwrite(str(_picture(self.out, frame)), image[..., ::-1])

        return render


def _grained(image: npt.NDArray[np.uint8], grain: float, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    return np.round(np.clip(image + rng.normal(0, 255 * grain, image.shape), 0, 255)).astype(np.uint8)


def _picture(out: Path, frame: int) -> Path:
    return out / "frames" / f"{frame:06d}.png"


def _points(out: Path, frame: int) -> Path:
    return out / "frames" / f"{frame:06d}.npy"
