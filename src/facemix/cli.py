"""`facemix ...`: what a user types and what the DVC stages run."""

import argparse
import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facemix import config, workspace
from facemix.benchmarks import commands as bench
from facemix.errors import FacemixError
from facemix.strategies import STRATEGIES

if TYPE_CHECKING:
    from facemix.sweeps.run import How

RECORDED = ("prepare", "train", "leaks", "compare", "report", "sweep", "gate")
"""Commands whose results are recorded with the workspace's code and packages; `render --stage` is one, too."""
GATE_FAILED = 3
"""Exit status of `facemix gate` without a verdict: 0, 1 and 2 are verdicts."""
LABELS = ("mesh", "annotator", "steady")
"""As `facemix.render.labels.CONVENTIONS`, which takes too long to import for a help text."""
IMAGES = ("png", "jpeg", "webp")
"""As `facemix.render.sets.IMAGES`, likewise."""

ADDRESS = "of the Ray cluster (default: as RAY_ADDRESS says; without it, one is started here)"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command; a mistake of the user's ends in one clear message and exit status 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no ± shows a question mark
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as end:  # argparse's own status of bad usage is that of an undecided gate
        given = [*(sys.argv[1:] if arguments is None else arguments)]
        sys.exit(GATE_FAILED if given[:1] == ["gate"] and end.code == 2 else end.code)
    try:
        if options.command in RECORDED or (options.command == "render" and options.stage):
            workspace.check()
        options.run(options)
    except (FacemixError, OSError) as error:
        if options.command == "gate":
            print(f"facemix gate: {error}", file=sys.stderr)
            sys.exit(GATE_FAILED)
        sys.exit(f"facemix {options.command}: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="facemix",
        description="How much is synthetic face data worth for a landmark detector, and how should it be mixed in? "
        "Run from the project's root. The whole experiment: `dvc repro`.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    _data_commands(commands)
    _render_command(commands)
    _settings_commands(commands)
    _experiment_commands(commands)
    _tracking_commands(commands)
    _model_commands(commands)
    bench.add(commands)
    return parser


def _data_commands(commands: Any) -> None:
    """Faces: bringing, rendering, packing and checking them."""
    command = commands.add_parser(
        "import",
        help="check a folder of faces and add it to the experiment",
        description="Checks every face of a folder, writes pictures of them to reports/import/NAME, copies the folder "
        "to data/sources/ROLE/NAME, tracks it with DVC and names it in params.yaml. If a face is broken, nothing is "
        "imported.",
    )
    command.add_argument("format", help="300w, coco, csv, wflw and others: see docs/data.md")
    command.add_argument("path", type=Path, help="the folder as you downloaded it")
    command.add_argument("--name", help="its name under data/sources/ROLE (default: 300w, or the folder's own name)")
    command.add_argument("--role", choices=("real", "synthetic"), help="default: by the format")
    command.add_argument("--link", action="store_true", help="link to the files instead of copying them")
    command.add_argument(
        "--group",
        metavar="REGEX|column:NAME",
        help="what names the photograph, person or sequence: a regular expression on a face's id (its path without "
        "suffix), first group or whole match; or a column, field or attribute of the files (default: as the format "
        "has it, and names such as 0012_1 and 0012_2 are faces of one)",
    )
    command.add_argument("--scheme", help="the landmark scheme (default: that of the format, or what the files say)")
    command.add_argument("--every", type=int, metavar="K", help="of videos, take each K-th frame (default: all)")
    command.add_argument("--skip-broken", action="store_true", help="leave broken faces out, and list them")
    command.add_argument("--check", action="store_true", help="show what would be imported, and import nothing")
    command.add_argument("--on", choices=("ray",), help="decode on Ray (docs/scaling_checks.md; default: here)")
    command.add_argument("--address", metavar="HOST:PORT", help=ADDRESS)
    command.set_defaults(run=_import)

    command = commands.add_parser(
        "convert",
        help="write faces or predictions as COCO keypoints, CSV or .pts",
        description="Writes faces with their pictures to a new folder, for other tools; `facemix import` reads it "
        "again. With --scheme the points of another scheme are written: those of equal names, and means as its file "
        "states them.",
    )
    command.add_argument(
        "source",
        help="a source of params.yaml; a folder, with --format; a file of `facemix predict --out`; or "
        "models/STRATEGY/seed-K, for its predictions of validation and test faces",
    )
    command.add_argument("out", type=Path, metavar="OUT", help="the new folder")
    command.add_argument("--to", required=True, choices=("coco", "csv", "pts"), help="the format to write")
    command.add_argument("--scheme", metavar="NAME", help="the scheme to write (default: the one that there is)")
    command.add_argument("--link", action="store_true", help="link to the pictures instead of copying them")
    command.add_argument("--format", help="of a folder that is not imported, as for import")
    command.add_argument("--source-scheme", metavar="NAME", help="of a folder or file that does not tell its scheme")
    command.add_argument("--skip-broken", action="store_true", help="leave out what cannot be written, and list it")
    command.set_defaults(run=_convert)

    command = commands.add_parser(
        "prepare",
        help="decode and crop all sources of a role into one pack",
        description="Splits the faces of a role, decodes and crops them into data/packs/ROLE, and writes a picture of "
        "some to reports/packs/ROLE.png. `dvc repro` runs it.",
    )
    command.add_argument("role", choices=("real", "synthetic"))
    command.add_argument("--on", choices=("ray",), help="decode on Ray (docs/scaling_checks.md; default: here)")
    command.add_argument("--address", metavar="HOST:PORT", help=ADDRESS)
    command.set_defaults(run=_prepare)

    command = commands.add_parser(
        "leaks",
        help="find photographs that occur twice, above all in two different splits",
        description="Compares all real faces with each other and with the synthetic ones, and writes to reports/ which "
        "pairs show one photograph, and how far two annotations of one lie apart.",
    )
    command.add_argument(
        "--exclude", action="store_true", help="exclude training faces that leak: adds them to the files in data/splits"
    )
    command.set_defaults(run=_leaks)


def _render_command(commands: Any) -> None:
    """The generator."""
    command = commands.add_parser(
        "render",
        help="render a set of synthetic faces",
        description="Renders faces 0 to N - 1 of a set into a folder in the layout of FaceSynthetics, on all cores. "
        "The same command goes on where it stopped; a larger N extends the set.",
    )
    command.add_argument("--out", type=Path, metavar="DIR", help="the folder, new or from an earlier run")
    command.add_argument("--n", type=int, help="number of faces")
    command.add_argument("--seed", type=int, help="the same seed and number give the same faces (default: 0)")
    command.add_argument("--size", type=int, help="side of a picture in pixels (default: 256)")
    command.add_argument("--domain", choices=("synthetic", "stand_in"), help="whose distributions (default: synthetic)")
    command.add_argument(
        "--labels",
        choices=LABELS,
        help="points of the mesh, or where a person would click, with or without a person's tremor (default: mesh for "
        "synthetic, annotator for stand_in)",
    )
    command.add_argument("--scheme", metavar="NAME", help="which points, such as wflw98 or dense (default: ibug68)")
    command.add_argument(
        "--population", type=Path, metavar="YAML", help="distributions to change, such as `glasses: 0.5`"
    )
    command.add_argument(
        "--seg", action="store_true", default=None, help="write NNNNNN_seg.png, a class for each pixel"
    )
    command.add_argument("--image", choices=IMAGES, help="how pictures are compressed (default: png, without loss)")
    command.add_argument("--quality", type=int, metavar="Q", help="of JPEG and WebP, 1 to 100 (default: 90)")
    command.add_argument(
        "--shards",
        action="store_true",
        default=None,
        help="write tars of 1,000 faces, as WebDataset has them, and an index, instead of a file for each face",
    )
    command.add_argument("--processes", type=int, help="default: one for each core, at most 4 on a GPU")
    command.add_argument(
        "--backend", choices=("auto", "cuda", "llvm", "scalar"), help="of the renderer (default: auto)"
    )
    command.add_argument("--on", choices=("ray",), help="render on a Ray cluster (docs/scaling.md; default: here)")
    command.add_argument("--address", metavar="HOST:PORT", help=ADDRESS)
    command.add_argument(
        "--stage",
        choices=("synthetic", "stand_in"),
        help="render the pipeline's set of this name with the settings of params.yaml; takes no other option",
    )
    command.set_defaults(run=_render)

    command = commands.add_parser(
        "relabel",
        help="give rendered faces new labels, without rendering",
        description="Writes new points for the pictures in a folder of `facemix render`, on all cores. The result is "
        "what a rendering with these labels would have written. The same command goes on where it stopped.",
    )
    command.add_argument("folder", type=Path, metavar="DIR", help="the folder")
    command.add_argument("--labels", choices=LABELS, help="as for render (default: as they are)")
    command.add_argument("--scheme", metavar="NAME", help="which points (default: as they are)")
    command.add_argument("--processes", type=int, help="default: one for each core, at most 4 on a GPU")
    command.set_defaults(run=_relabel)


def _settings_commands(commands: Any) -> None:
    """Landmark schemes, parameters and packages."""
    command = commands.add_parser(
        "scheme",
        help="list the landmark schemes, or draw one",
        description="Lists all landmark schemes, or describes one and draws it: points with their numbers, mirror "
        "partners, neighbours and regions.",
    )
    command.add_argument("name", nargs="?", help="built in, or of data/schemes/NAME.yaml (default: list all)")
    command.add_argument("--out", type=Path, metavar="FILE.png", help="the picture (default: NAME.png)")
    command.set_defaults(run=_scheme)

    command = commands.add_parser(
        "preset",
        help="set many keys of params.yaml at once",
        description="Sets the keys of a preset in params.yaml and prints them. Comments and all other keys stay.",
    )
    command.add_argument("name", help="a file of presets/: demo, smoke, sweep, 300w, grid, paper")
    command.set_defaults(run=_preset)

    command = commands.add_parser(
        "packages",
        help="record the installed packages that decide weights",
        description="Writes the installed versions of torch, timm and OpenCV to packages.yaml; trainings depend on it.",
    )
    command.set_defaults(run=_packages)


def _experiment_commands(commands: Any) -> None:
    """Trainings, and what comes of them."""
    command = commands.add_parser(
        "train",
        help="train and evaluate one strategy with one seed",
        description="Trains a strategy on the packs and writes models/STRATEGY/seed-K. A training that was stopped "
        "goes on where it was. `dvc repro` runs it; on several GPUs start it with torchrun (docs/machines.md).",
    )
    command.add_argument("strategy", choices=tuple(STRATEGIES))
    command.add_argument("--seed", type=int, default=0, help="default: 0")
    command.add_argument(
        "--resume",
        type=Path,
        metavar="CHECKPOINT",
        help="continue from this checkpoint (a run that was stopped is found without it)",
    )
    command.set_defaults(run=_train)

    command = commands.add_parser(
        "compare",
        help="rank the trained strategies",
        description="Measures all detectors of models/ on the same test faces, ranks the strategies, says how sure the "
        "differences are, and writes tables and plots to reports/. `dvc repro` runs it.",
    )
    command.set_defaults(run=_compare)

    command = commands.add_parser(
        "report",
        help="write the results as one page: reports/report.html",
        description="Writes reports/report.html, one file that needs no network: verdict, ranking, curves, label gap, "
        "faces, data and how to reproduce them. It names what is missing, with the command that makes it.",
    )
    command.set_defaults(run=_report)

    command = commands.add_parser(
        "experiment",
        help="train one strategy as a DVC experiment with other parameters",
        description="Runs `dvc exp run` for a strategy and what it needs. MLflow's entry points call it.",
    )
    command.add_argument("strategy", choices=tuple(STRATEGIES))
    command.add_argument(
        "settings", nargs="*", metavar="KEY=VALUE", help="as alpha=0.3; without a value as params.yaml says"
    )
    command.set_defaults(run=_experiment)

    command = commands.add_parser(
        "sweep",
        help="train a grid of alpha, n_real, seeds and strategies as DVC experiments",
        description="Trains every point of a grid that is not there yet as a DVC experiment of the current commit, and "
        "writes tables and curves to reports/sweep/. VALUES are separated by commas; `0,0.1,...,1` stands for 0, "
        "0.1, 0.2 and so on; `seeds=3` means 0, 1 and 2. Keys that are not given, or have no value, keep their values "
        "in params.yaml. The same command continues a sweep that was stopped.",
    )
    command.add_argument(
        "axes",
        nargs="*",
        metavar="KEY=VALUES",
        help="alpha, n_real, n_synthetic, seeds, strategies, or a key of model, augmentation, training, "
        "fine_tuning or adaptation, such as training.steps",
    )
    command.add_argument("--yes", action="store_true", help="start more than a thousand trainings without asking")
    _runner_options(command)
    command.set_defaults(run=_sweep)

    command = commands.add_parser(
        "gate",
        help="whether synthetic faces help by enough: an exit status for CI",
        description="Trains a strategy and real faces alone at equal cost, seed by seed as a sweep does, until its "
        "gain (the share by which its NME is lower) is shown to be above or below --min-gain. Prints one line and "
        "writes reports/answers/gate.json. Exit status: 0 supported, 1 refuted, 2 undecided, 3 no verdict. See "
        "docs/advise.md.",
    )
    command.add_argument(
        "settings",
        nargs="*",
        metavar="KEY=VALUE",
        help="in the place of what params.yaml says, such as alpha=0.3; several, such as "
        "training.learning_rate=0.02,0.04: each of the two at its best on validation",
    )
    command.add_argument("--min-gain", required=True, metavar="SHARE", help="such as 2%%")
    command.add_argument(
        "--strategy",
        default="mixing",
        choices=[name for name in STRATEGIES if name not in ("real_only", "control")],
        help="default: mixing",
    )
    command.add_argument("--max-seeds", type=int, default=5, metavar="N", help="3 or more (default: 5)")
    _runner_options(command)
    command.set_defaults(run=_gate)

    command = commands.add_parser(
        "advise",
        help="what a finished sweep says of more labels, more renders and the cheapest mix",
        description="Fits NME = C + D n^-a to the points of reports/sweep, and says what synthetic faces are worth in "
        "labels, what more renders and more labels bring, and which mix reaches a target at the least cost. Writes "
        "reports/answers/advice.md, advice.json and advice.png. See docs/advise.md.",
    )
    command.add_argument("--labels", type=int, metavar="N", help="real faces that you have (default: the most swept)")
    command.add_argument("--more-labels", type=int, default=100, metavar="N", help="more to think of (default: 100)")
    command.add_argument("--target-nme", type=float, metavar="NME", help="look for the cheapest mix that reaches it")
    command.add_argument(
        "--price-label",
        type=float,
        metavar="PRICE",
        help="of one real face with its label; prices ask what each NME costs",
    )
    command.add_argument("--price-render", type=float, metavar="PRICE", help="of one synthetic face")
    command.add_argument(
        "--price-hour", type=float, metavar="PRICE", help="of an hour of training (default: training costs nothing)"
    )
    command.add_argument(
        "--chance", type=float, default=0.8, metavar="SHARE", help="with which to reach the target (default: 0.8)"
    )
    command.set_defaults(run=_advise)


def _runner_options(command: argparse.ArgumentParser) -> None:
    """Which points are trained, where, and how many at a time."""
    command.add_argument(
        "--known",
        type=Path,
        metavar="FILE.csv",
        help="points.csv of another sweep: points of equal digest count as trained (docs/experiments.md)",
    )
    command.add_argument("-j", "--jobs", type=int, help="trainings at the same time (default: 1)")
    command.add_argument("--on", choices=("ray",), help="train on a Ray cluster (docs/scaling.md; default: here)")
    command.add_argument("--address", metavar="HOST:PORT", help=ADDRESS)
    command.add_argument(
        "--gpus-per-training", type=float, metavar="G", help="on Ray, also parts of one, such as 0.5 (default: 1)"
    )
    command.add_argument("--cpus-per-training", type=float, metavar="C", help="on Ray (default: 1)")


def _tracking_commands(commands: Any) -> None:
    """MLflow."""
    command = commands.add_parser(
        "register",
        help="register a trained model in MLflow, and name the best one of each benchmark",
        description="Makes a trained model a version of `facemix` in MLflow's model registry, and prints how to serve "
        "the champion of its benchmark: the version with the lowest validation NME on the same faces, landmark scheme "
        "and face size.",
    )
    command.add_argument(
        "--model", type=Path, metavar="DIR", help="models/STRATEGY/seed-K (default: the best of models/ by validation)"
    )
    command.set_defaults(run=_register)

    command = commands.add_parser(
        "deliver",
        help="send to MLflow what could not be sent before",
        description="Sends the runs to MLflow that could not be sent before, and waits until they are there. Every "
        "stage also sends them, but does not wait for long.",
    )
    command.set_defaults(run=_deliver)


def _model_commands(commands: Any) -> None:
    """A trained model in use."""
    command = commands.add_parser(
        "predict",
        help="find the landmarks of faces in pictures or a video",
        description="Finds faces and their landmarks, and prints them as JSON, with how far each point may be off. "
        "Faces in a video are followed from frame to frame.",
    )
    command.add_argument("images", type=Path, nargs="+", metavar="FILE", help="pictures, or one video")
    command.add_argument(
        "--model",
        type=Path,
        required=True,
        metavar="MODEL",
        help="a trained model: models/STRATEGY/seed-K, or an exported .onnx file",
    )
    boxes = command.add_mutually_exclusive_group()
    boxes.add_argument(
        "--box",
        action="append",
        default=[],
        metavar="X0,Y0,X1,Y1",
        help="tight around the landmarks of one face, in pixels; for a single image; may be repeated "
        "(--box=-5,... where it begins with a minus)",
    )
    boxes.add_argument(
        "--boxes", type=Path, metavar="CSV", help="a file of boxes for many images, with the header image,x0,y0,x1,y1"
    )
    command.add_argument(
        "--out", type=Path, metavar="FILE", help=".json: an object for each face; .csv: a row for each point"
    )
    command.add_argument("--overlay", type=Path, metavar="DIR", help="write what was given here, with points drawn in")
    command.add_argument("--smooth", action="store_true", help="of a video: smooth the points over time (One Euro)")
    command.set_defaults(run=_predict)

    command = commands.add_parser(
        "export",
        help="write a trained model as one ONNX file",
        description="Writes network and label adapter as one ONNX file, and compares what it gives in ONNX Runtime and "
        "OpenCV with what PyTorch gives.",
    )
    command.add_argument("model", type=Path, metavar="MODEL", help="its folder: models/STRATEGY/seed-K")
    command.add_argument("--out", type=Path, metavar="FILE", help="default: model.onnx in that folder")
    command.add_argument(
        "--int8",
        action="store_true",
        help="write also NAME.int8.onnx, whose convolutions count in 8 bits, and say what it brings and what it costs; "
        "needs the project's real pack",
    )
    command.set_defaults(run=_export)

    command = commands.add_parser(
        "serve",
        help="a page on this machine that shows the points of a picture, or of the camera",
        description="Serves a page that loads nothing from elsewhere and keeps no picture, until Ctrl-C.",
    )
    command.add_argument("model", type=Path, metavar="MODEL", help="a trained model: models/STRATEGY/seed-K")
    command.add_argument("--port", type=int, default=8000, help="default: 8000; 0 for any that is free")
    command.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, which only this machine reaches")
    command.set_defaults(run=_serve)


# Imports are late: `facemix --help` answers at once, and only training waits for torch.


def _import(options: argparse.Namespace) -> None:
    from facemix.stages.import_source import import_source

    import_source(
        options.format,
        options.path,
        name=options.name,
        role=options.role,
        link=options.link,
        group=options.group,
        scheme=options.scheme,
        skip_broken=options.skip_broken,
        every=options.every,
        check_only=options.check,
        on=options.on,
        address=options.address,
    )


def _convert(options: argparse.Namespace) -> None:
    from facemix.stages.convert import convert

    convert(
        options.source,
        options.to,
        options.out,
        scheme=options.scheme,
        link=options.link,
        format=options.format,
        source_scheme=options.source_scheme,
        skip_broken=options.skip_broken,
    )


def _render(options: argparse.Namespace) -> None:
    from facemix.stages import render

    given = {key for key, value in vars(options).items() if value is not None} - {"command", "run", "stage"}
    try:
        if options.stage is None:
            render.render_folder(**{key: getattr(options, key) for key in given})
        elif given:
            raise FacemixError(f"--stage takes its settings from params.yaml; leave out --{', --'.join(sorted(given))}")
        else:
            render.render_stage(options.stage, config.load())
    except KeyboardInterrupt:
        sys.exit(130)  # what there is to say has been said


def _relabel(options: argparse.Namespace) -> None:
    from facemix.stages.render import relabel_folder

    try:
        relabel_folder(options.folder, options.labels, options.scheme, options.processes)
    except KeyboardInterrupt:
        sys.exit(130)


def _scheme(options: argparse.Namespace) -> None:
    from facemix.stages.scheme import show

    show(options.name, options.out)


def _prepare(options: argparse.Namespace) -> None:
    from facemix.stages.prepare import prepare

    prepare(options.role, config.load(), options.on, options.address)


def _leaks(options: argparse.Namespace) -> None:
    from facemix.stages.leaks import leaks

    leaks(config.load(), exclude=options.exclude)


def _train(options: argparse.Namespace) -> None:
    from facemix.stages.train import train
    from facemix.training import processes
    from facemix.training.interruption import Stopped

    if not 0 <= options.seed < 2**32:
        raise FacemixError(f"--seed: found {options.seed}, expected a number from 0 to 2^32 - 1")
    try:
        train(STRATEGIES[options.strategy], options.seed, config.load(), options.resume)
    except Stopped as stopped:
        if processes.rank() == 0:
            print(stopped.message, file=sys.stderr)
        raise


def _compare(_options: argparse.Namespace) -> None:
    from facemix.stages.compare import compare

    compare(config.load())


def _report(_options: argparse.Namespace) -> None:
    from facemix.stages.report import report

    report(config.load())


def _experiment(options: argparse.Namespace) -> None:
    from facemix.stages.experiment import command

    arguments = command(options.strategy, options.settings)
    os.execv(arguments[0], arguments)


def _sweep(options: argparse.Namespace) -> None:
    from facemix.sweeps.run import run_sweep

    how = _how(options, yes=options.yes)
    run_sweep([axis for axis in options.axes if not axis.endswith("=")], config.load(), how)


def _how(options: argparse.Namespace, **more: Any) -> "How":
    """How missing points are trained."""
    from facemix.sweeps.on_ray import Wanted
    from facemix.sweeps.run import How

    given = {"address": options.address, "gpus": options.gpus_per_training, "cpus": options.cpus_per_training}
    given = {key: value for key, value in given.items() if value is not None}
    if options.on and options.jobs is not None:
        raise FacemixError("--jobs: Ray decides how many trainings run at a time; leave it out, or --on ray")
    if given and not options.on:
        raise FacemixError("--address, --gpus-per-training and --cpus-per-training are Ray's; add --on ray")
    jobs = 1 if options.jobs is None else options.jobs
    return How(jobs=jobs, known=options.known, ray=Wanted(**given) if options.on else None, **more)


def _gate(options: argparse.Namespace) -> None:
    try:
        from facemix.stages.gate import gate

        status = gate(
            options.strategy, options.settings, options.min_gain, options.max_seeds, config.load(), _how(options)
        )
    except (FacemixError, OSError):
        raise
    except Exception:  # Python's own status of it would say refuted
        traceback.print_exc()
        sys.exit(GATE_FAILED)
    sys.exit(status)


def _advise(options: argparse.Namespace) -> None:
    from facemix.stages.advise import advise

    advise(
        config.load(),
        labels=options.labels,
        more_labels=options.more_labels,
        target=options.target_nme,
        price_label=options.price_label,
        price_render=options.price_render,
        price_hour=options.price_hour,
        chance=options.chance,
    )


def _register(options: argparse.Namespace) -> None:
    from facemix.stages.register import register

    register(config.load(), options.model)


def _deliver(_options: argparse.Namespace) -> None:
    from facemix import tracking

    if left := tracking.deliver():
        raise FacemixError(
            f"{left} run(s) could not be sent to MLflow; they are kept: run `facemix deliver` again when it answers"
        )
    print(f"all runs are in MLflow ({tracking.shown_uri()})")


def _predict(options: argparse.Namespace) -> None:
    from facemix.stages.predict import predict

    predict(options.images, options.model, options.box, options.boxes, options.out, options.overlay, options.smooth)


def _export(options: argparse.Namespace) -> None:
    from facemix.stages.export import export

    export(options.model, options.out, options.int8)


def _serve(options: argparse.Namespace) -> None:
    from facemix.stages.serve import serve

    try:
        serve(options.model, options.port, options.host)
    except KeyboardInterrupt:
        sys.exit(130)


def _packages(_options: argparse.Namespace) -> None:
    config.load()  # says where the project's root is
    workspace.record_packages()
    said = ", ".join(f"{name} {version}" for name, version in workspace.installed_packages().items())
    print(f"{workspace.PACKAGES_FILE}: {said}")


def _preset(options: argparse.Namespace) -> None:
    from facemix.stages.preset import preset

    for key, value in preset(options.name).items():
        if value is not None:
            print(f"{key}: {value}")


if __name__ == "__main__":
    main()
