"""`facemix ...`: what a user types and what the DVC stages run."""

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from facemix import config
from facemix.strategies import STRATEGIES

PACKAGE = Path(__file__).parent


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command; a mistake of the user's ends in one clear message and exit status 1."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, RuntimeError, OSError, ArithmeticError) as error:
        if not isinstance(error, OSError) and not _is_ours(error):
            raise
        sys.exit(f"facemix {options.command}: {error}")


def _is_ours(error: BaseException) -> bool:
    """Whether facemix itself raised it, as a message; what a library raises is a fault, and shows its traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).is_relative_to(PACKAGE)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="facemix",
        description="How much is synthetic face data worth for a landmark detector, and how should it be mixed in? "
        "Run from the project's root. The whole experiment: `dvc repro`.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser("import", help="check a folder of faces and add it to the experiment")
    command.add_argument("format", help="300w, dgfaces_v1, dgfaces_v2 or facesynthetics")
    command.add_argument("path", type=Path, help="the folder as you downloaded it")
    command.add_argument("--name", help="its name under data/sources (default: 300w, or the folder's own name)")
    command.add_argument("--role", choices=("real", "synthetic"), help="default: by the format")
    command.add_argument("--link", action="store_true", help="link to the files instead of copying them")
    command.set_defaults(run=_import)

    command = commands.add_parser("prepare", help="decode and crop all sources of a role into one pack")
    command.add_argument("role", choices=("real", "synthetic"))
    command.set_defaults(run=_prepare)

    command = commands.add_parser("train", help="train and evaluate one strategy with one seed")
    command.add_argument("strategy", choices=tuple(STRATEGIES))
    command.add_argument("--seed", type=int, default=0, help="default: 0")
    command.add_argument(
        "--resume",
        type=Path,
        metavar="CHECKPOINT",
        help="go on from this checkpoint (a stopped run is found by itself)",
    )
    command.set_defaults(run=_train)

    command = commands.add_parser("compare", help="rank the trained strategies and write reports/")
    command.set_defaults(run=_compare)

    command = commands.add_parser("preset", help="set many keys of params.yaml at once; comments stay")
    command.add_argument("name", help="a file of presets/: smoke, 300w")
    command.set_defaults(run=_preset)

    command = commands.add_parser("bench", help="measure speed, as ratios within one run")
    command.add_argument("what", choices=("step", "prepare"), help="a training step; decoding into packs")
    command.set_defaults(run=_bench)
    return parser


# Imports are late: `facemix --help` answers at once, and only training waits for torch.


def _import(options: argparse.Namespace) -> None:
    from facemix.stages.import_source import import_source

    import_source(options.format, options.path, name=options.name, role=options.role, link=options.link)


def _prepare(options: argparse.Namespace) -> None:
    from facemix.stages.prepare import prepare

    prepare(options.role, config.load())


def _train(options: argparse.Namespace) -> None:
    from facemix.learning.training import Stopped
    from facemix.stages.train import train

    try:
        train(STRATEGIES[options.strategy], options.seed, config.load(), options.resume)
    except Stopped as stopped:
        print(stopped.message, file=sys.stderr)
        raise


def _compare(_options: argparse.Namespace) -> None:
    from facemix.stages.compare import compare

    compare(config.load())


def _preset(options: argparse.Namespace) -> None:
    from facemix.stages.preset import preset

    for key, value in preset(options.name).items():
        print(f"{key}: {value}")


def _bench(options: argparse.Namespace) -> None:
    from facemix import bench

    params = config.load()
    if options.what == "step":
        bench.step(params)
    else:
        bench.prepare(params)


if __name__ == "__main__":
    main()
