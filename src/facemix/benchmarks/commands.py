"""`facemix bench ...`: the arguments of the measurements, and what each of them calls."""

import argparse
import sys
from pathlib import Path
from typing import Any

from facemix import config
from facemix.errors import FacemixError


def add(commands: Any) -> None:
    """Adds `facemix bench ...` to the commands."""
    command = commands.add_parser("bench", help="measure speed, or what synthetic sets are worth to a detector")
    benches = command.add_subparsers(dest="what", required=True, metavar="WHAT")
    benches.add_parser("step", help="speed of a training step, as a ratio within one run").set_defaults(run=_bench)
    benches.add_parser("loader", help="batches of facemix against the usual per-sample loader").set_defaults(run=_bench)
    command = benches.add_parser(
        "prepare",
        help="speed of decoding into packs, and what one source more costs",
        description="Packs ten sources of made-up photographs: all but one, then all, by taking over what is there "
        "and anew.",
    )
    command.add_argument("--faces", type=int, default=512, metavar="N", help="default: 512")
    command.set_defaults(run=_bench_prepare)
    command = benches.add_parser(
        "memory",
        help="peak memory of reading a pack and training on it, and on ten and a hundred times as many faces",
        description="Measures each in a process of its own, on packs of black faces that take no disk.",
    )
    command.add_argument("--faces", type=int, default=512, metavar="N", help="of the smallest pack (default: 512)")
    command.add_argument("--steps", type=int, default=40, help="of a training; 0: none (default: 40)")
    command.set_defaults(run=_bench_memory)
    benches.add_parser("compare", help="speed of the verdict's statistics").set_defaults(run=_bench)
    command = benches.add_parser(
        "leaks",
        help="seconds and memory of the search for copies among made-up faces",
        description="Searches among N/4, N/2 and N made-up faces, half of which are compared with all, and says how "
        "long 100,000 real and 1,000,000 synthetic faces would take.",
    )
    command.add_argument("--faces", type=int, default=20000, metavar="N", help="default: 20000")
    command.set_defaults(run=_bench_leaks)
    command = benches.add_parser(
        "results",
        help="seconds to read a large sweep and to compare many trainings",
        description="Reads the made-up points of a sweep from their experiments, makes its tables and curves, and "
        "reads and ranks as many trainings.",
    )
    command.add_argument("--points", type=int, default=500, help="a multiple of 50 (default: 500)")
    command.add_argument("--faces", type=int, default=1000, help="test faces (default: 1000)")
    command.set_defaults(run=_bench_results)
    command = benches.add_parser(
        "scheduling",
        help="how busy a sweep on Ray keeps its machines",
        description="Runs a sweep on a Ray cluster on this machine, whose points sleep instead of training, and prints "
        "the share of the time of all CPUs in which they did.",
    )
    command.add_argument("--points", type=int, default=500, help="default: 500")
    command.add_argument("--seconds", type=float, default=20, help="that a point sleeps (default: 20)")
    command.add_argument("--nodes", type=int, default=2, help="default: 2")
    command.add_argument("--cpus", type=int, default=8, help="of a node, as Ray counts them (default: 8)")
    command.set_defaults(run=_bench_scheduling)
    command = benches.add_parser("render", help="speed of rendering, by stage")
    command.add_argument("--size", type=int, default=256, help="side of a picture in pixels (default: 256)")
    command.add_argument("--n", type=int, default=40, help="pictures (default: 40)")
    command.add_argument("--backend", choices=("auto", "cuda", "llvm", "scalar"), default="auto", help="default: auto")
    command.set_defaults(run=_bench)
    _of_detectors(benches)
    _of_sets(benches)


def _of_detectors(benches: Any) -> None:
    """Of trained detectors."""
    command = benches.add_parser(
        "clip",
        help="how near and how steady points are in a rendered video",
        description="Renders a video of a moving head with the exact place of each point, unless it is there, and "
        "follows the face with trained models: NME, and jitter with and without smoothing.",
    )
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="the clip's folder")
    command.add_argument("--frames", type=int, default=300, help="default: 300, ten seconds")
    command.add_argument("--size", type=int, default=256, help="side of a frame in pixels (default: 256)")
    command.add_argument("--seed", type=int, default=0, help="another seed, another person (default: 0)")
    command.add_argument(
        "--labels", choices=("mesh", "steady"), default="steady", help="as for render; default: steady"
    )
    command.add_argument("--processes", type=int, help="default: one for each core")
    command.add_argument(
        "--model", type=Path, action="append", default=[], metavar="DIR", help="a trained model; may be repeated"
    )
    command.set_defaults(run=_clip)
    command = benches.add_parser(
        "found",
        help="error where faces are found, beside that where their boxes are given",
        description="Predicts the test faces from the boxes of their labels, from those that are found, and once more "
        "from those of the found points. Prints the error of each, how many faces are found, and how long a picture "
        "takes on one thread.",
    )
    command.add_argument("--real", required=True, metavar="FORMAT:PATH", help="the real faces, as for import")
    command.add_argument("--model", type=Path, required=True, metavar="DIR", help="models/STRATEGY/seed-K")
    command.add_argument(
        "--split", choices=("test", "challenging", "validation"), default="test", help="which faces (default: test)"
    )
    command.set_defaults(run=_found)
    command = benches.add_parser(
        "reliability",
        help="whether a detector knows how sure it is of each point",
        description="Of the points that a detector says to lie within a radius, how many do: on the test faces of a "
        "real set, and on all faces of others, such as rendered ones. Faces are shown in the boxes of their labels.",
    )
    command.add_argument("--model", type=Path, required=True, metavar="DIR", help="a trained model")
    command.add_argument("--real", metavar="FORMAT:PATH", help="real faces, as for import")
    command.add_argument("--set", action="append", default=[], metavar="NAME=FORMAT:PATH", help="may be repeated")
    command.add_argument("--picture", type=Path, metavar="PNG", help="draw the shares of all levels")
    command.set_defaults(run=_reliability)


def _of_sets(benches: Any) -> None:
    """Of synthetic sets."""
    command = benches.add_parser(
        "shards",
        help="what PNG, JPEG and WebP take, and how long large sets in shards take to read",
        description="Encodes the first 100 pictures of a rendered set in several ways: bytes, time and error of each. "
        "Then fills shards with these pictures, and measures how long they take to write, to index and to read.",
    )
    command.add_argument("--set", required=True, metavar="FORMAT:PATH", help="a rendered set, as PNG")
    command.add_argument("--faces", type=int, default=20000, metavar="N", help="in the shards (default: 20000)")
    command.set_defaults(run=_bench_shards)
    command = benches.add_parser(
        "realism",
        help="train on equally many faces of several synthetic sets and compare them on real validation faces",
        description="Trains on n faces of each set and of the real ones, and measures the error on real validation "
        "faces, as it is and with a label adapter. One half of the validation photographs chooses the best step and "
        "epoch for the other. Prints the difference of each two sets, and with three n or more the curve over n, with "
        "95 % intervals.",
    )
    command.add_argument("--real", required=True, metavar="FORMAT:PATH", help="the real faces, as for import")
    command.add_argument(
        "--set",
        action="append",
        required=True,
        metavar="NAME=FORMAT:PATH",
        help="a synthetic set; may be repeated; folders with the same name form one set",
    )
    command.add_argument(
        "--n", action="append", required=True, type=int, help="faces of each set to train on; may be repeated"
    )
    command.add_argument(
        "--steps",
        action="append",
        default=[],
        type=int,
        help="steps of a training; may be repeated: each n is trained for each (default: params.yaml's)",
    )
    command.add_argument("--seeds", type=int, default=3, help="trainings of each set, n and steps (default: 3)")
    command.add_argument(
        "--out",
        type=Path,
        metavar="CSV",
        help="a row for each training, and beside it a folder with the errors of each face; trainings that it lists "
        "are not repeated",
    )
    command.add_argument("--picture", type=Path, metavar="PNG", help="draw the errors, and their curves, over n")
    command.set_defaults(run=_realism)


# Imports are late: `facemix --help` answers at once.


def _bench(options: argparse.Namespace) -> None:
    from facemix.benchmarks import speed

    if options.what == "render":
        speed.render(options.size, options.n, options.backend)
    elif options.what == "compare":
        speed.compare()
    else:
        benches = {"step": speed.step, "loader": speed.loader}
        benches[options.what](config.load())


def _bench_prepare(options: argparse.Namespace) -> None:
    from facemix.benchmarks import speed

    speed.prepare(config.load(), options.faces)


def _bench_memory(options: argparse.Namespace) -> None:
    from facemix.benchmarks.memory import memory

    memory(config.load(), options.faces, options.steps)


def _bench_leaks(options: argparse.Namespace) -> None:
    from facemix.benchmarks.leaks import leaks

    leaks(config.load(), options.faces)


def _bench_results(options: argparse.Namespace) -> None:
    from facemix.benchmarks.results import results

    results(options.points, options.faces)


def _bench_scheduling(options: argparse.Namespace) -> None:
    from facemix.benchmarks.scheduling import scheduling

    scheduling(options.points, options.seconds, options.nodes, options.cpus)


def _bench_shards(options: argparse.Namespace) -> None:
    from facemix.benchmarks import shards
    from facemix.benchmarks.realism import parse_set

    shards.compare(parse_set(f"renders={options.set}"), options.faces)


def _clip(options: argparse.Namespace) -> None:
    from facemix.benchmarks import clip, steadiness

    settings = {key: getattr(options, key) for key in ("frames", "size", "seed", "labels")}
    clip.render_clip(options.out, clip.Settings(**settings), options.processes)
    for model in options.model:
        print(f"{model}\n{steadiness.table(steadiness.measure(options.out, model))}")


def _found(options: argparse.Namespace) -> None:
    from facemix.benchmarks.found import found
    from facemix.benchmarks.realism import parse_real

    found(parse_real(options.real), options.model, options.split)


def _reliability(options: argparse.Namespace) -> None:
    from facemix.benchmarks.realism import parse_real, parse_set
    from facemix.benchmarks.reliability import reliability

    if not (options.real or options.set):
        raise FacemixError("expected faces: --real FORMAT:PATH, --set NAME=FORMAT:PATH, or both")
    real = parse_real(options.real) if options.real else None
    reliability(options.model, real, [parse_set(text) for text in options.set], options.picture)


def _realism(options: argparse.Namespace) -> None:
    from facemix.benchmarks.realism import parse_real, parse_set, realism
    from facemix.training.interruption import Stopped

    sets = [parse_set(text) for text in options.set]
    try:
        realism(
            config.load(),
            parse_real(options.real),
            sets,
            options.n,
            seeds=options.seeds,
            steps=options.steps,
            out=options.out,
            picture=options.picture,
        )
    except Stopped:
        print(
            f"stopped; finished trainings are kept in {options.out}  (without --out: finished trainings are lost; "
            "use --out CSV to keep them)",
            file=sys.stderr,
        )
        raise
