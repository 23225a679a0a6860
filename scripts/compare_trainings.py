"""NME of one strategy trained in several ways, on the same real faces, and how they differ from the first way.

    python scripts/compare_trainings.py kept/ibug68/label_adaptation kept/wflw98/label_adaptation ...

Each folder holds `seed-K` folders as `facemix train` writes them to `models/STRATEGY`; the real pack is the project's.
Seeds that all folders have are compared. Intervals: 95 %, over photographs and seeds, as in `facemix compare`. What
decides something is compared `--on validation`: test faces choose nothing.
"""

import argparse
from pathlib import Path

import numpy as np

from facemix.faces import packs
from facemix.verdict import bootstrap, results


def main(folders: list[Path], split: str) -> None:
    """Prints a table in Markdown."""
    pack = packs.read(packs.FOLDER / "real")
    seeds = sorted(set.intersection(*({place.name for place in folder.glob("seed-*")} for folder in folders)))
    judged = [[results.load(folder / seed, pack, "auto").errors[0.0].of(split) for seed in seeds] for folder in folders]
    nme = np.array([[errors.nme for errors in own] for own in judged])  # (folders, seeds, faces)
    first = nme[0].mean()
    print(f"| | NME, {len(seeds)} seeds | mean | difference | 95 % interval |\n|---|---|---|---|---|")
    differences = bootstrap.compare(nme - nme[0], judged[0][0].photos)
    for folder, own, found in zip(folders, nme, differences, strict=True):
        each = ", ".join(f"{value:.2f}" for value in own.mean(axis=1))
        low, high = (100 * end / first for end in (found.low, found.high))
        change = f"{100 * found.mean / first:+.1f} % | {low:+.1f} to {high:+.1f} %"
        print(f"| {folder} | {each} | {own.mean():.2f} | {change} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--on", choices=("validation", "test"), default="test", help="which faces (default: test)")
    options = parser.parse_args()
    main(options.folders, options.on)
