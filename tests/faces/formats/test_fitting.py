"""Which scheme the points of a file are of."""

import pytest

from facemix.errors import FacemixError
from facemix.faces import schemes
from facemix.faces.formats import fitting
from toy_five import FIVE, NAMES, known_five  # noqa: F401


def test_names_tell_their_scheme_whatever_divides_words(known_five):
    assert fitting.of_names([name.replace("_", " ").upper() for name in NAMES]) == ["toy_five"]
    assert fitting.of_names(NAMES[:3]) == ["toy_five"]
    assert fitting.of_names([*NAMES, "ear"]) == fitting.of_names([]) == []


@pytest.mark.parametrize("names", ["01234", "12345", ["kp_1", "kp_2", "kp_5"]])
def test_numbers_tell_how_many_points_there_are(known_five, names):
    assert fitting.of_names(names) == ["toy_five"]


def test_the_order_of_a_list_is_that_of_its_names_or_numbers():
    assert fitting.order(NAMES[::-1], FIVE, "f") == [4, 3, 2, 1, 0]
    assert fitting.order(["p2", "p1", "p3", "p5", "p4"], FIVE, "f") == [1, 0, 2, 4, 3]


@pytest.mark.parametrize(
    "names, message",
    [
        (
            ["left_eyes", *NAMES[1:]],
            "5 points called .*the nearest, toy_five, has 4 of them, but not 'left_eyes' ",
        ),
        (["left_eyes", *NAMES[1:]], "did you mean 'left_eye'.*; say it with --scheme NAME"),
        (["", "a"], "found points without a name, none that is known fits; say"),
        (list("abcdefg"), "called 'a', 'b', 'c', 'd', 'e' and 2 more, none that is known fits; say"),
    ],
)
def test_names_that_fit_no_scheme_are_said_with_the_nearest(known_five, names, message):
    with pytest.raises(FacemixError, match=message):
        fitting.required(None, fitting.of_names(names), "f", names=names)


def test_counts_that_fit_several_schemes_are_said():
    with pytest.raises(FacemixError, match="found faces of 5 or 68 points, five, ibug68 fit; say it with --scheme"):
        fitting.required(None, ["five", "ibug68"], "f", counts=[68, 5])
    assert fitting.required(None, ["five"], "f").name == "five"
    assert fitting.required(FIVE, [], "f") is FIVE


def test_points_without_a_name_are_refused_as_that():
    with pytest.raises(FacemixError, match="f: points without a name, expected its names .left_eye, .*; name them"):
        fitting.indices({""}, FIVE, "f")


def test_a_format_of_one_scheme_takes_no_other_number_of_points():
    with pytest.raises(FacemixError, match="scheme five: has 5 points, but the format wflw has 98; use .* wflw98"):
        fitting.own("wflw98", schemes.load("five"), "wflw")
