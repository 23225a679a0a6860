"""`python -m facemix.sweeps.worker`: one job of a sweep on a machine of a Ray cluster, by the code of the commit.

It reads `job.json` in the working directory and writes `result.json` there, and what is to be brought home to `home/`.
It ends when whoever started it does.
"""

import json
import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from facemix import tracking
from facemix.errors import FacemixError
from facemix.sweeps import point, repository, storage
from facemix.sweeps.grid import Point
from facemix.sweeps.point import Place, Running
from facemix.sweeps.repository import Repository
from facemix.sweeps.storage import Remote

LOCK = "dvc.lock"


def main() -> None:
    """Does the job that stands in the working directory."""
    running = Running()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})  # Ray blocks them in its processes
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: running.stop())
    threading.Thread(target=_end_with_parent, args=[running], daemon=True).start()
    job = json.loads(Path("job.json").read_text(encoding="utf-8"))
    os.environ["DVC_ROOT"] = job["home"]  # where MLflow's runs lie
    try:
        result = carry_out(job, Path.cwd(), running)
    except (FacemixError, OSError) as error:
        result = {"failed": str(error).replace(str(Path.cwd() / "log"), job["log"])}
    Path("result.json").write_text(json.dumps(result), encoding="utf-8")


def _end_with_parent(running: Running) -> None:
    os.read(0, 1)  # comes back when the other end is closed
    running.stop(signal.SIGKILL)
    os._exit(1)


def carry_out(job: Mapping[str, Any], folder: Path, running: Running) -> dict[str, Any]:
    """Trains a point and pushes its model, or makes a machine ready where the job has no point.

    Args:
        job: `top`, `inside`, `commit`, `signer` and `email` of the project; `cache` and `remote` of DVC; `home` of
            checkpoints and runs; `lock`, what dvc.lock says of all that comes before; `stages` to fetch; `point`, its
            `name` and the `normalizer` of its figures.
        folder: of this job alone.

    Returns:
        The point's validation NME and its entry of dvc.lock. Its experiment is in `home/bundle`, a git bundle; runs
        that could not be sent are in `home/runs`, a tar file.
    """
    log, home = folder / "log", Path(job["home"])
    project = Repository(
        top=Path(job["top"]),
        inside=Path(job["inside"]),
        commit=job["commit"],
        name=job["signer"],
        email=job["email"],
    )
    clone = repository.clone(project, folder / "clone")
    storage.configure(clone, Path(job["cache"]), Remote(**job["remote"]))
    place = Place(clone=clone, home=home, running=running)
    if job["point"] is None:
        from facemix.training.checkpoint import check_shared  # loads torch

        check_shared()
        write_lock(clone, job["lock"])
        place.dvc("fetch", *job["stages"], log=log)
        return {}
    one = Point(**job["point"] | {"settings": tuple((key, value) for key, value in job["point"]["settings"])})
    point.set_out(clone, project.commit, one)
    write_lock(clone, {stage: entry for stage, entry in job["lock"].items() if stage != one.stage})
    # What comes before is there, as dvc.lock says: of it, what this stage reads is brought.
    options = ("--single-item", "--pull", "--no-run-cache")
    nme = point.train(place, project.commit, one, job["name"], log, job["normalizer"], *options)
    place.dvc("push", "--quiet", one.stage, log=log)
    (folder / "home").mkdir()
    repository.bundle(project, clone, job["name"], folder / "home/bundle")
    if job["private"] and (runs := tracking.take_unsent()):
        (folder / "home/runs").write_bytes(runs)
    return {"val_nme": nme, "lock": {one.stage: read_lock(clone)[one.stage]}}


def read_lock(root: Path) -> dict[str, Any]:
    """What dvc.lock says of each stage."""
    content = YAML(typ="safe").load(root / LOCK) if (root / LOCK).exists() else None
    return dict((content or {}).get("stages", {}))


def write_lock(root: Path, stages: Mapping[str, Any]) -> None:
    yaml = YAML()
    yaml.default_flow_style = False
    with (root / LOCK).open("w", encoding="utf-8") as file:
        yaml.dump({"schema": "2.0", "stages": dict(stages)}, file)


if __name__ == "__main__":
    main()
