"""What params.yaml says of a source."""

import dataclasses

import pytest
from test_photos import face

from facemix import config
from facemix.errors import FacemixError
from facemix.faces import sources


def source(**optional):
    return config._parse(config.Source, {"name": "a", "format": "300w", **optional}, "sources.real[0]")


def test_group_and_offset_are_optional_and_stand_in_params_only_where_set():
    assert config.plain(source()) == {"name": "a", "format": "300w"}
    assert source(group="column:person (id").group == "column:person (id"  # no regular expression
    assert source(group="(.*)_", offset=[-1, 0.5]) == config.Source(
        name="a", format="300w", group="(.*)_", offset=(-1.0, 0.5)
    )


@pytest.mark.parametrize(
    "optional, reason",
    [
        ({"group": "("}, r"sources: a: group: found '\(', expected a regular expression"),
        ({"group": 3}, r"sources.real\[0\].group: found 3, expected text"),
        ({"offset": [1]}, r"offset: found \[1\], expected a list of 2 values"),
        ({"offset": 1}, "offset: found 1, expected a list of 2 values"),
        ({"offset": [0, float("nan")]}, "offset: found .*nan.*, expected two finite numbers"),
        ({"ofset": [0, 0]}, "did you mean sources.real.0..offset"),
    ],
)
def test_what_does_not_fit_is_refused(optional, reason):
    with pytest.raises(config.ConfigError, match=reason):
        source(**optional)


@pytest.fixture
def split_file(tmp_path, monkeypatch):
    """Writes the split file of the source `a` of a role."""
    monkeypatch.chdir(tmp_path)

    def write(role, text):
        path = tmp_path / "data/splits" / role / "a.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text)

    return write


def test_names_of_a_split_file_that_are_not_there_are_counted_with_an_example(tmp_path, split_file, capsys):
    split_file("real", "test: [1.jpg, b/2]\nvalidation: ['1']\nexcluded: [b/3]\n")
    faces = [face(tmp_path, "1")]
    assert sources.assign(source(), faces) == ["validation"]
    first, second = capsys.readouterr().out.splitlines()
    assert "2 of the 2 faces that data/splits/real/a.yaml lists under test are missing: 1 of no folder, 1 of b" in first
    assert "the first is '1.jpg', and a face here is called '1'; what tests is decided without it" in first
    assert second.endswith(
        "lists under excluded are missing: 1 of b; the first is 'b/3', and a face here is called '1'"
    )


def test_synthetic_faces_are_excluded_by_name_or_photograph(tmp_path, split_file):
    split_file("synthetic", "excluded: ['1', p]\nvalidation: []\n")
    faces = [face(tmp_path, name) for name in "123"]
    faces[2] = dataclasses.replace(faces[2], photo="p")
    assert sources.training(source(), faces) == ["excluded", "train", "excluded"]


def test_synthetic_faces_neither_validate_nor_test(tmp_path, split_file):
    split_file("synthetic", "test: ['1']\n")
    with pytest.raises(FacemixError, match="a.yaml: test: found 1 names, expected none: synthetic faces only train"):
        sources.training(source(), [face(tmp_path, "1")])
