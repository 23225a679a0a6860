"""Work on many faces at once."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")


def on_all_cores(work: Callable[[Item], Result], items: Sequence[Item], title: str) -> list[Result]:
    """`work` applied to every item, in order, with a progress bar (none where there is no terminal).

    Threads suffice for images: reading, hashing, decoding and warping happen outside of Python's lock.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(tqdm(pool.map(work, items), title, total=len(items), unit="face", disable=None))
