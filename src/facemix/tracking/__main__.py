"""`python -m facemix.tracking FOLDER`: the courier of a run, see `facemix.tracking.delivery`."""

import sys
from pathlib import Path

from facemix.tracking.delivery import run_courier

if __name__ == "__main__":
    run_courier(Path(sys.argv[1]))
