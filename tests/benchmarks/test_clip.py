"""The rendered clip: a head that moves smoothly, with its truth."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from facemix import cli
from facemix.benchmarks import clip, steadiness
from facemix.errors import FacemixError
from facemix.faces.geometry import landmark_box, square_side
from facemix.render import studio, workers
from facemix.render.head import Head
from facemix.render.person import person
from facemix.render.population import POPULATIONS, changed
from facemix.use import film
from facemix.use.jitter import jitter

POPULATION = changed(POPULATIONS["synthetic"], clip.CHANGES)
SETTINGS = clip.Settings(frames=3, size=32, labels="mesh")


def test_a_movement_begins_and_ends_at_rest() -> None:
    times = np.linspace(0, 1, 1001)
    done = np.array([clip.minimum_jerk(time) for time in times])
    assert (done[0], done[-1], done[500]) == pytest.approx((0, 1, 0.5))
    speed = np.gradient(done, times)
    assert (speed >= 0).all()
    assert max(speed[0], speed[-1]) < 0.01
    assert speed.max() == pytest.approx(1.875, abs=1e-3)


@pytest.mark.parametrize("pose", [0, 1, 3])
def test_each_second_the_person_has_a_pose_of_the_population(pose: int) -> None:
    now, drawn = clip.moment(POPULATION, 0, pose * clip.STEP), person(POPULATION, 0, pose)
    for key in clip.MOVING:
        assert getattr(now, key) == pytest.approx(getattr(drawn, key))
    assert {unit: weight for unit, weight in now.expression.items() if weight} == drawn.expression


def test_nothing_but_pose_expression_and_gaze_changes() -> None:
    first, later = (clip.moment(POPULATION, 0, frame) for frame in (0, 44))
    different = {
        field.name for field in dataclasses.fields(first) if getattr(first, field.name) != getattr(later, field.name)
    }
    assert different == {*clip.MOVING, "expression"}


def test_the_camera_stays_and_points_move_smoothly() -> None:
    head = Head()
    seats = [clip.sitting(head, POPULATION, clip.Settings(), frame) for frame in range(20, 32)]
    assert len({(*seat.camera.position, seat.camera.field_of_view) for seat in seats}) == 1
    points = np.array([seat.camera.pixels(seat.marks) for seat in seats])
    sizes = square_side(landmark_box(points))
    moved = np.linalg.norm(np.diff(points, axis=0), axis=-1) / sizes[:-1, None]
    assert 0.001 < moved.mean() < 0.05
    assert jitter(np.arange(12.0), points, sizes) < 0.15


class Studio:
    """Draws a frame that is as bright as the person is turned."""

    def __init__(self, size: int, backend: str, table: object) -> None:
        self.size, self.head = size, None

    def photograph(self, sitting: SimpleNamespace, labels: str) -> SimpleNamespace:
        assert sitting.person.noise == 0
        image = np.full((self.size, self.size, 3), round(sitting.person.yaw), dtype=np.uint8)
        return SimpleNamespace(image=image, landmarks=np.full((68, 2), sitting.person.yaw))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass
    class Seat:
        person: object

    def here(job: workers.Job, frames: Iterable[int], processes: int) -> Iterator[int]:
        make: Callable[[int], None] = job.begin()
        for frame in frames:
            make(frame)
            yield frame

    def sitting(head: object, population: object, settings: object, frame: int) -> Seat:
        return Seat(dataclasses.replace(person(POPULATION, 0, 0), yaw=50.0 * frame, noise=0.004))

    monkeypatch.setattr(workers, "finished", here)
    monkeypatch.setattr(studio, "Studio", Studio)
    monkeypatch.setattr(clip, "sitting", sitting)


def test_the_folder_has_the_frames_and_their_truth(tmp_path: Path, drawn: None) -> None:
    out = tmp_path / "clip"
    clip.render_clip(out, SETTINGS, 1)
    assert sorted(path.name for path in out.iterdir()) == ["clip.json", "clip.mp4", "truth.csv"]
    truth = clip.read_truth(out)
    assert truth.shape == (3, 68, 2)
    with film.opened(out / clip.VIDEO) as video:
        frames = list(video)
    for k, frame in enumerate(frames):
        assert (truth[k] == 50 * k).all()
        assert frame.image.mean() == pytest.approx(50 * k, abs=6)
        assert frame.time == pytest.approx(k / clip.RATE)
    assert (frames[2].image != frames[2].image[0, 0]).any()  # grain


def test_a_clip_that_is_there_stays_and_another_is_refused(tmp_path: Path, drawn: None) -> None:
    out = tmp_path / "clip"
    clip.render_clip(out, SETTINGS, 1)
    before = (out / clip.VIDEO).stat().st_mtime_ns
    clip.render_clip(out, SETTINGS, 1)
    assert (out / clip.VIDEO).stat().st_mtime_ns == before
    with pytest.raises(FacemixError, match="holds a clip of other settings, .* use another folder"):
        clip.render_clip(out, dataclasses.replace(SETTINGS, seed=1), 1)
    (tmp_path / "other").mkdir()
    with pytest.raises(FacemixError, match="other: is there, but holds no clip"):
        clip.render_clip(tmp_path / "other", SETTINGS, 1)


def test_a_clip_that_is_stopped_leaves_nothing(tmp_path: Path, drawn: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_studio: Studio, _sitting: object, _labels: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Studio, "photograph", stop)
    with pytest.raises(KeyboardInterrupt):
        clip.render_clip(tmp_path / "clip", SETTINGS, 1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("key", "value"), [("frames", 0), ("size", 8), ("seed", -1)])
def test_settings_out_of_range_are_refused(key: str, value: int) -> None:
    with pytest.raises(FacemixError, match=f"{key}: found {value}, expected "):
        clip.Settings(**{key: value})


def test_settings_stand_in_the_folder(tmp_path: Path, drawn: None) -> None:
    clip.render_clip(tmp_path / "clip", SETTINGS, 1)
    found = json.loads((tmp_path / "clip" / clip.ABOUT).read_text(encoding="utf-8"))
    assert clip.Settings(**found) == SETTINGS


def test_the_command_renders_once_and_prints_a_table_for_each_model(
    tmp_path: Path, drawn: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"truth": steadiness.Steadiness(nme=0, moving=0, jitter=0.0812)}
    monkeypatch.setattr(steadiness, "measure", lambda folder, model: found)
    arguments = ["bench", "clip", "--out", str(tmp_path / "clip"), "--frames", "3", "--size", "32"]
    cli.main(arguments)
    assert not capsys.readouterr().out
    cli.main([*arguments, "--model", "one", "--model", "two"])
    lines = capsys.readouterr().out.splitlines()
    assert [lines[0], lines[3]] == ["one", "two"]
    assert lines[2].split() == ["truth", "0.00", "0.00", "0.081"]
