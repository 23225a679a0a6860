"""Faces of a video: what is written, drawn and said."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import toy_video
from facemix.errors import FacemixError
from facemix.faces.drawing import BOX, POINT
from facemix.use import film
from facemix.use.tracks import Tracker
from facemix.use.video import COLUMNS, drawn, follow
from toy_video import Box, Detector, picture

FACES: list[list[Box]] = [[(10 + k, 12, 33 + k, 41)] for k in range(12)]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Twelve frames of a face that moves by a pixel a frame."""
    return toy_video.film(tmp_path / "a.mp4", [picture(faces) for faces in FACES])


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_table_has_a_row_for_each_point_of_each_frame(tmp_path: Path, video: Path) -> None:
    out = tmp_path / "new" / "points.csv"
    follow(Detector(), video, out=out)
    rows = table(out)
    assert tuple(rows[0]) == COLUMNS
    assert [(int(row["frame"]), int(row["point"])) for row in rows] == [(k, p) for k in range(12) for p in range(5)]
    assert {(row["video"], row["track"], row["error"], row["visible"]) for row in rows} == {
        (str(video), "0", "0.5", "")
    }
    last = rows[-1]
    assert float(last["time"]) == pytest.approx(11 / 25)
    assert (float(last["x"]), float(last["y"])) == pytest.approx(FACES[-1][0][2:], abs=1)


def test_json_has_an_object_for_each_face_and_frame(
    tmp_path: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    follow(Detector(knows_errors=False), video, out=tmp_path / "points.json")
    follow(Detector(knows_errors=False), video)
    found = json.loads((tmp_path / "points.json").read_text(encoding="utf-8"))
    printed = capsys.readouterr().out
    assert json.loads(printed[printed.index("[") :]) == found
    assert [(face["frame"], face["track"]) for face in found] == [(k, 0) for k in range(12)]
    assert found[3]["errors"] == [None] * 5
    np.testing.assert_allclose(found[3]["landmarks"][4], FACES[3][0][2:], atol=1)


def test_rows_are_written_while_the_video_is_read(tmp_path: Path) -> None:
    """Memory does not grow with the length of a video: frames that have passed stand in the file beside."""
    frames = [picture(FACES[0])] * 400
    path = toy_video.film(tmp_path / "long.mp4", frames)
    sizes: list[int] = []

    class Watching(Detector):
        def predict(self, image: np.ndarray, boxes: np.ndarray) -> toy_video.Faces:
            sizes.append(sum(file.stat().st_size for file in tmp_path.glob(".points.csv.*")))
            return super().predict(image, boxes)

    follow(Watching(), path, out=tmp_path / "points.csv")
    assert sizes[200] > 0.3 * sizes[-1] > 0
    assert (tmp_path / "points.csv").stat().st_size >= sizes[-1]


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_a_video_without_faces_gives_an_empty_result_and_says_so(
    tmp_path: Path, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = toy_video.film(tmp_path / "a.mp4", [picture([])] * 12)
    out = tmp_path / f"points.{ending}"
    assert not follow(Detector(), path, out=out).tracks
    assert (table(out) if ending == "csv" else json.loads(out.read_text(encoding="utf-8"))) == []
    said = capsys.readouterr()
    assert said.err == f"{path}: no face found in 12 frames\n"
    assert said.out == f"{out}: 0 faces in 12 frames\n"


def test_the_summary_has_jitter_and_frames_of_each_track(
    tmp_path: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = follow(Detector(), video, out=tmp_path / "points.csv")
    assert (summary.frames, [(track.first, track.last) for track in summary.tracks.values()]) == (12, [(0, 11)])
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"{video}: 12 frames, 1 face, jitter ")
    assert second.startswith("  track 0: frames 0 to 11, jitter ")
    assert "smoothed" not in first


def test_smoothed_points_tremble_less_and_what_is_followed_is_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trembling = [picture([(40 - k % 2, 30, 230 + k % 2, 220)], 256, 320) for k in range(12)]
    path = toy_video.film(tmp_path / "a.mp4", trembling)
    raw = follow(Detector(), path, out=tmp_path / "raw.csv")
    smooth = follow(Detector(), path, out=tmp_path / "smooth.csv", smooth=True)
    assert smooth.tracks[0].raw.percent == raw.tracks[0].raw.percent
    assert smooth.tracks[0].smoothed.percent < 0.6 * smooth.tracks[0].raw.percent
    assert " % of the face, smoothed " in capsys.readouterr().err
    a, b = (
        np.array([float(row["x"]) for row in table(tmp_path / f"{name}.csv") if row["point"] == "1"])
        for name in ("raw", "smooth")
    )
    assert a[0] == b[0]
    assert np.abs(np.diff(b)).max() < 0.9 * np.abs(np.diff(a)).max()


def test_smoothing_begins_anew_with_each_face(tmp_path: Path) -> None:
    """A face that appears elsewhere is not drawn towards the one before it."""
    frames = [picture([(5, 5, 30, 30)])] * 5 + [picture([(60, 20, 90, 50)])] * 5
    found = follow(Detector(), toy_video.film(tmp_path / "a.mp4", frames), out=tmp_path / "points.csv", smooth=True)
    assert [(track.first, track.last) for track in found.tracks.values()] == [(0, 4), (5, 9)]
    x = np.array([float(row["x"]) for row in table(tmp_path / "points.csv") if row["point"] == "0"])
    np.testing.assert_allclose(x, [5] * 5 + [60] * 5, atol=1.5)


def test_the_overlay_has_each_frame_with_box_points_and_number(tmp_path: Path, video: Path) -> None:
    follow(Detector(), video, out=tmp_path / "points.csv", overlay=tmp_path / "drawn")
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["a.mp4"]
    with film.opened(tmp_path / "drawn" / "a.mp4") as read:
        frames = list(read)
    assert len(frames) == 12
    for frame, ((x0, y0, x1, y1),) in zip(frames, FACES, strict=True):
        assert frame.image.shape == (toy_video.HEIGHT, toy_video.WIDTH, 3)
        middle = frame.image[round((y0 + y1) / 2), round((x0 + x1) / 2)].astype(int)
        assert middle[1] > middle[0] + 40  # green: the point in the middle


def test_a_drawn_frame_shows_box_points_and_number() -> None:
    (face,) = Tracker(Detector()).next(picture(FACES[0]))
    image = drawn(picture(FACES[0]), [face])
    for colour in (BOX, POINT):
        assert (image == colour).all(axis=2).any()
    other = drawn(picture(FACES[0]), [replace(face, track=8)])
    assert 20 < (image != other).any(axis=2).sum() < 300


def test_given_boxes_are_followed(tmp_path: Path, video: Path) -> None:
    boxes = np.array(FACES[0], dtype=float)
    assert follow(Detector(has_finder=False), video, boxes=boxes, out=tmp_path / "a.csv").tracks[0].last == 11


def test_a_box_outside_of_the_picture_is_refused(tmp_path: Path, video: Path) -> None:
    with pytest.raises(FacemixError, match=r"a\.mp4: the box 200,0,220,20 lies outside the picture of 96 x 64 pixels"):
        follow(Detector(), video, boxes=np.array([[200.0, 0, 220, 20]]), out=tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()


def test_what_was_found_until_a_video_ends_early_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 100, (30, 64, 96, 3), dtype=np.uint8)
    path = toy_video.film(tmp_path / "a.avi", list(np.maximum(noise, picture(FACES[0]))), codec="MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    summary = follow(Detector(), path, out=tmp_path / "points.csv")
    said = capsys.readouterr().err
    assert f"{path}: ends early, after {summary.frames} of 30 frames; what was found until then is kept" in said
    assert len(table(tmp_path / "points.csv")) == 5 * summary.frames


def test_nothing_is_written_where_the_video_cannot_be_used(tmp_path: Path, video: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video", encoding="utf-8")
    for detector, path in ((Detector(), tmp_path / "text.mp4"), (Detector(has_finder=False), video)):
        with pytest.raises(FacemixError):
            follow(detector, path, out=tmp_path / "points.csv", overlay=tmp_path / "drawn")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "text.mp4"]


def test_a_video_is_never_overwritten(tmp_path: Path, video: Path) -> None:
    with pytest.raises(FacemixError, match=r"a\.mp4: would be overwritten, but it is the video"):
        follow(Detector(), video, overlay=tmp_path / "." / "b" / "..")
    with pytest.raises(FacemixError, match=r"--out .*points\.txt: found \.txt, expected one of \.json, \.csv"):
        follow(Detector(), video, out=tmp_path / "points.txt")
