import numpy as np

import toy
from facemix.faces import geometry
from facemix.reporting import panels


def test_best_median_and_worst_are_those() -> None:
    assert panels.best_median_worst(np.array([5.0, 1.0, 3.0])) == (1, 2, 0)
    assert panels.best_median_worst(np.array([4.0, 1.0, 3.0, 2.0])) == (1, 3, 0)
    assert panels.best_median_worst(np.array([7.0])) == (0, 0, 0)


def test_faces_differ_by_the_range_of_their_errors() -> None:
    nme = np.array([[1.0, 5.0, 2.0], [2.0, 5.0, 9.0]])
    assert panels.most_different(nme, 2) == [2, 0]
    assert panels.most_different(nme, 9) == [2, 0, 1]


def test_a_similarity_is_found_again() -> None:
    points = toy.template()
    transform = np.array([[0.8, -0.6, 3.0], [0.6, 0.8, -2.0]]) * [1.5, 1.5, 1.0]
    assert np.allclose(panels.similarity(points, geometry.apply(transform, points)), transform)


def test_the_mean_of_one_face_is_that_face() -> None:
    image, points = toy.face(np.random.default_rng(0))
    mean, at = panels.mean_face(image[None], points[None], np.array([0]), size=90)
    transform = geometry.crop_transform(geometry.landmark_box(points), 90, panels.FRAME)
    assert np.abs(mean.astype(int) - geometry.warp(image, transform, 90)).mean() < 2
    assert np.allclose(at, geometry.apply(transform, points))


def test_a_mean_face_has_its_points_where_the_faces_have_theirs() -> None:
    faces = [toy.face(np.random.default_rng(i)) for i in range(6)]
    marked = []
    for image, points in faces:
        black = np.zeros_like(image)
        x, y = points[30].round().astype(int)
        black[y - 2 : y + 3, x - 2 : x + 3] = 255
        marked.append(black)
    mean, at = panels.mean_face(np.array(marked), np.array([points for _, points in faces]), np.arange(6), size=90)
    y, x = np.argwhere(mean[..., 0] > 200).mean(axis=0)
    assert np.hypot(*(at[30] - (x, y))) < 1.5


def test_a_face_without_prediction_shows_no_magenta() -> None:
    image, points = toy.face(np.random.default_rng(0))
    grey = np.full_like(image, 90)

    def magenta(predicted: object) -> int:
        return int(np.all(panels.judged(grey, points, predicted) == panels.PREDICTION, axis=-1).sum())  # type: ignore[arg-type]

    assert magenta(None) == 0
    assert magenta(points + 2) > 68


def test_a_sheet_shows_at_most_what_there_is() -> None:
    images, points = (
        np.array(one) for one in zip(*(toy.face(np.random.default_rng(i)) for i in range(5)), strict=True)
    )
    sheet = panels.sheet(images, points, np.array([0, 2, 4]), columns=2, lines=2)
    assert sheet.shape == (2 * panels.CELL, 2 * panels.CELL, 3)
