import re
from html.parser import HTMLParser

import numpy as np
import pytest

from facemix.reporting.page import Code, Gallery, Missing, More, Report, Section, Table, Text, html, inline, photograph

MEAN = "<script>alert('&')</script>"
PICTURE = photograph(np.zeros((8, 12, 3), dtype=np.uint8), alt=MEAN, caption=MEAN, wide=True)
EVERY = [
    Text(text=MEAN),
    Missing(what=MEAN, command=MEAN),
    PICTURE,
    Gallery(title=MEAN, pictures=[PICTURE]),
    Table(caption=MEAN, header=["name", MEAN], rows=[[MEAN, "1"]]),
    Code(label=MEAN, text=MEAN),
    More(summary=MEAN, pieces=[Text(text=MEAN)]),
]


def page() -> str:
    sections = [Section(name="first", title=MEAN, pieces=EVERY)]
    return html(
        Report(
            question=MEAN,
            answer=MEAN,
            status="undecided",
            picture=Missing(what=MEAN, command=MEAN),
            advice=MEAN,
            notes=[MEAN],
            sections=sections,
        )
    )


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_nothing_that_is_said_becomes_markup() -> None:
    tags = Tags()
    tags.feed(page())
    assert "script" not in {tag for tag, _ in tags.found}
    assert page().count("&lt;script&gt;") >= len(EVERY) + 3


def test_nothing_is_loaded_from_elsewhere() -> None:
    tags = Tags()
    tags.feed(page())
    sources = [value for _, given in tags.found for key, value in given.items() if key in ("src", "srcset", "data")]
    links = [given["href"] for _, given in tags.found if "href" in given]
    assert sources and all(str(value).startswith("data:") for value in sources)
    assert all(str(value).startswith(("#", "data:")) for value in links)
    assert not re.search(r"url\(|@import|@font-face", page())


def test_every_picture_has_words_and_every_table_its_headers() -> None:
    tags = Tags()
    tags.feed(page())
    assert all(given.get("alt") for tag, given in tags.found if tag == "img")
    assert {given.get("scope") for tag, given in tags.found if tag == "th"} == {"col", "row"}
    scrolling = [given for _, given in tags.found if given.get("class") == "scroll"]
    assert scrolling and all(one["tabindex"] == "0" and one["role"] == "region" for one in scrolling)


def test_the_verdict_comes_before_anything_else_that_is_said() -> None:
    body = page().split("<body>")[1]
    assert body.index('class="question"') < body.index('class="verdict"') < body.index('class="next"')
    assert body.index('class="next"') < body.index('class="note"') < body.index("<section")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("run `a < b` now", "run <code>a &lt; b</code> now"),
        ("`a` `b`", "<code>a</code> <code>b</code>"),
    ],
)
def test_backticks_are_code(text: str, shown: str) -> None:
    assert str(inline(text)) == shown
