"""The points of one face, by an exported file alone: python onnx_example.py model.onnx face.jpg 120 80 310 290"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def find_points(session, picture, box):
    """Points (K, 2) and their expected errors (K,), pixels of the picture (H, W, 3); box: x0, y0, x1, y1."""
    told = session.get_modelmeta().custom_metadata_map
    size, down = int(told["input_size"]), json.loads(told["facemix_model"])["frame"].get("down", 0)
    longer = max(box[2] - box[0], box[3] - box[1])
    side = float(told["context"]) * longer  # of the square that the network sees, pixels
    corner = np.array([box[0] + box[2], box[1] + box[3] + 2 * down * longer]) / 2 - side / 2 + 0.5

    # Beyond the picture its border is repeated.
    before = np.maximum(0, np.ceil(-corner)).astype(int)
    after = np.maximum(0, np.ceil(corner + side - picture.shape[1::-1])).astype(int)
    seen = np.pad(picture, ((before[1], after[1]), (before[0], after[0]), (0, 0)), mode="edge")
    square = (*(corner + before), *(corner + before + side))
    crop = Image.fromarray(seen).resize((size, size), Image.Resampling.BILINEAR, box=square)

    images = np.asarray(crop, dtype=np.float32).transpose(2, 0, 1)[None] / 255
    points, errors = session.run(["landmarks", "errors"], {"images": images})
    return corner + (points[0] + 0.5) * side / size - 0.5, errors[0] * side / size


if __name__ == "__main__":
    model, file, *numbers = sys.argv[1:]
    picture = np.asarray(ImageOps.exif_transpose(Image.open(file)).convert("RGB"))
    points, errors = find_points(onnxruntime.InferenceSession(model), picture, [float(number) for number in numbers])
    for (x, y), error in zip(points, errors, strict=True):
        print(f"{x:.1f} {y:.1f}, expected error {error:.1f} pixels")
