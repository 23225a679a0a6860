"""Makes src/facemix/render/data/lights/: small panoramas of light, from the CC0 HDRIs in the npm package.

    npm pack @pmndrs/assets@1.7.0 && tar xzf pmndrs-assets-1.7.0.tgz
    python scripts/make_lights.py package/hdri

A panorama is a 512 x 256 JPEG of log radiance, so that the brightness of lamps survives 8 bits:
`value / 255 = log2(1 + 32 radiance / mean) / STOPS`; see facemix.render.light.
"""

import argparse
import base64
import re
import tempfile
from pathlib import Path

import cv2
import mitsuba as mi
import numpy as np

from facemix.render.light import STOPS

OUT = Path(__file__).parents[1] / "src" / "facemix" / "render" / "data" / "lights"
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 93, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
DARKEST = 0.03  # of the mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hdri", type=Path, help="the folder package/hdri")
    source = parser.parse_args().hdri
    mi.set_variant("scalar_rgb")
    OUT.mkdir(parents=True, exist_ok=True)
    for module in sorted(source.glob("*.exr.js")):
        radiance = read_exr(module)
        log = np.log2(1 + 32 * radiance / radiance.mean()) / STOPS
        image = (np.clip(log, 0, 1) * 255).round().astype(np.uint8)
        path = OUT / f"{module.name.removesuffix('.exr.js')}.jpg"
        cv2.imwrite(str(path), image[..., ::-1], JPEG)
        print(
            f"{path.name}: brightest {radiance.max() / radiance.mean():.0f} x mean, {path.stat().st_size / 1e3:.0f} kB"
        )


def read_exr(module: Path) -> np.ndarray:
    """Radiance (256, 512, 3) from a JavaScript module that holds a base64 EXR.

    The maps hold large negative values, and in the dark nothing but coloured noise: what is darker than a share of the
    mean is lifted to it.
    """
    encoded = re.search(r"base64,([A-Za-z0-9+/=]+)", module.read_text(encoding="utf-8"))
    if encoded is None:
        raise ValueError(f"{module}: no base64 data found")
    with tempfile.NamedTemporaryFile(suffix=".exr") as file:
        file.write(base64.b64decode(encoded[1]))
        file.flush()
        radiance = np.array(mi.Bitmap(file.name), dtype=np.float32)[..., :3]
    radiance = np.maximum(radiance, 0)
    return np.maximum(radiance, DARKEST * radiance.mean())


if __name__ == "__main__":
    main()
