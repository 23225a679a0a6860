"""What params.yaml says of a source."""

import pytest

from facemix import config


def source(**optional):
    return config._parse(config.Source, {"name": "a", "format": "300w", **optional}, "sources.real[0]")


def test_group_and_offset_are_optional_and_stand_in_params_only_where_set():
    assert config.plain(source()) == {"name": "a", "format": "300w"}
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
