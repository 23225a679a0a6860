"""`python -m facemix.sweeps.worker`: jobs of a sweep on a machine of a Ray cluster, by the code of the commit.

For each line that it is sent it reads `job.json` in the working directory and writes `result.json` there, and what is
to be brought home to `home/`; then it answers with a line. So Python, DVC and a clone are there for the next job. It
ends when whoever started it does.
"""

import contextlib
import json
import math
import os
import queue
import shutil
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from facemix import tracking
from facemix.errors import FacemixError
from facemix.strategies import MODELS
from facemix.sweeps import point, repository, storage
from facemix.sweeps.grid import Point
from facemix.sweeps.point import Place, Running
from facemix.sweeps.repository import Repository, git
from facemix.sweeps.storage import Remote

LOCK = "dvc.lock"


def main() -> None:
    """Does the jobs that come."""
    running = Running()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})  # Ray blocks them in its processes
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: running.stop())
    answers = os.dup(1)
    os.dup2(2, 1)  # what is printed goes to the log
    folder, jobs = Path.cwd(), queue.SimpleQueue[None]()
    threading.Thread(target=_listen, args=[jobs, running], daemon=True).start()
    while True:
        jobs.get()
        job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        os.environ["DVC_ROOT"] = job["home"]  # where MLflow's runs lie
        try:
            result = carry_out(job, folder, running)
        except (FacemixError, OSError) as error:
            result = {"failed": str(error).replace(str(folder / "log"), job["log"])}
        (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
        os.write(answers, b"\n")


def _listen(jobs: "queue.SimpleQueue[None]", running: Running) -> None:
    while os.read(0, 1):  # nothing comes when the other end is closed
        jobs.put(None)
    running.stop(signal.SIGKILL)
    os._exit(1)


class Own(Place):
    """The place of a process that does nothing else: of DVC's commands only trainings, which a signal ends, are others.

    DVC takes longer to load than to save an experiment.
    """

    __slots__ = ()

    def dvc(self, *arguments: str, log: Path, **variables: str) -> None:
        if arguments[0] == "repro":
            Place.dvc(self, *arguments, log=log, **variables)
            return
        from dvc.cli import main as command

        os.environ["DVC_NO_ANALYTICS"] = "1"
        begin = log.stat().st_size if log.exists() else 0
        with contextlib.chdir(self.clone):
            status = command(list(arguments))
        sys.stdout.flush()
        if status:
            said = point.reason(log.read_bytes()[begin:].decode(errors="replace"))
            raise FacemixError(f"dvc {arguments[0]}: {said} (the whole log: {log})")


def carry_out(job: Mapping[str, Any], folder: Path, running: Running) -> dict[str, Any]:
    """Trains a point and pushes its model, or makes a machine ready where the job has no point.

    A point that another sweep of this commit has put into the remote, from whatever clone, is taken from there.

    Args:
        job: `top`, `inside`, `commit`, `signer` and `email` of the project; `cache` and `remote` of DVC; `home` of
            checkpoints and runs; `environment`, as far as it is of this job alone; `lock`, what dvc.lock says of all
            that comes before; `stages` to fetch; `point`, its `name` and the `normalizer` of its figures.
        folder: of this process alone.

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
    clone = folder / "clone" / project.inside
    if not clone.exists():
        repository.clone(project, folder / "clone")
        storage.configure(clone, Path(job["cache"]), Remote(**job["remote"]))
    place = Own(clone=clone, home=home, running=running, environment=job["environment"])
    if job["point"] is None:
        from facemix.training.checkpoint import check_shared  # loads torch

        check_shared()
        write_lock(clone, job["lock"])
        place.dvc("fetch", *job["stages"], log=log)
        return {}
    one, name = (
        Point(**job["point"] | {"settings": tuple((key, value) for key, value in job["point"]["settings"])}),
        job["name"],
    )
    bundle = folder / "home" / "bundle"
    bundle.parent.mkdir(parents=True)
    shelf = storage.Shelf(clone, project.commit)
    if (offered := shelf.take(name)) and (finished := _finished(project, bundle, offered, one, name, shelf)):
        return finished
    shutil.rmtree(clone / MODELS, ignore_errors=True)  # the point before may have had others
    point.set_out(clone, project.commit, one)
    write_lock(clone, {stage: entry for stage, entry in job["lock"].items() if stage != one.stage})
    # What comes before is there, as dvc.lock says: of it, what this stage reads is brought.
    options = ("--single-item", "--pull", "--no-run-cache")
    nme = point.train(place, project.commit, one, name, log, job["normalizer"], *options)
    place.dvc("push", one.stage, log=log)
    repository.bundle(project, clone, name, bundle)
    own = bundle.read_bytes()
    if job["private"] and (runs := tracking.take_unsent()):
        bundle.with_name("runs").write_bytes(runs)
    offered = shelf.offer(name, own, unusable=offered)
    if offered != own and (finished := _finished(project, bundle, offered, one, name, shelf)):
        return finished  # another sweep was faster: both have its experiment
    bundle.write_bytes(own)
    return {"val_nme": nme, "lock": {one.stage: read_lock(clone)[one.stage]}}


def _finished(
    project: Repository, bundle: Path, content: bytes, one: Point, name: str, shelf: storage.Shelf
) -> dict[str, Any] | None:
    """What `carry_out` gives of a point that another sweep has trained; None where that is of no use."""
    bundle.write_bytes(content)
    try:
        repository.bring_home(project, bundle, name)
        revision = repository.reference(project, name)
        made = YAML(typ="safe").load(git(project.top, "show", f"{revision}:{(project.inside / LOCK).as_posix()}"))
        summary = json.loads(git(project.top, "show", f"{revision}:{(project.inside / point.SUMMARY).as_posix()}"))
    except FacemixError:
        return None  # not a bundle, or not of this commit
    entry = made["stages"][one.stage]
    if not all(shelf.holds(out["md5"]) for out in entry["outs"]):
        return None  # its model is gone
    return {"val_nme": summary.get("val_nme", {}).get(one.strategy, math.nan), "lock": {one.stage: entry}}


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
