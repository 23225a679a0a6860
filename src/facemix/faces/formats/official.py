"""Official splits, as names of files and folders state them."""

import re
from pathlib import PurePath

_WORDS = {
    **dict.fromkeys(("train", "training", "trainset", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "valset", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "testset"), "test"),
    "challenging": "challenging",
}


def split(path: PurePath) -> str:
    """`train`, `validation`, `test`, `challenging` or "": what the name says, else the nearest folder that says it.

    `path` is relative to the set's root, so that folders around the set do not count.
    """
    for part in (path.stem, *(folder.name for folder in path.parents)):
        found = {_WORDS[word] for word in re.findall("[a-z]+", part.lower()) if word in _WORDS}
        if len(found) == 1:
            return found.pop()
    return ""
