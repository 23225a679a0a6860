"""Breaks the code in known ways and shows that the tests notice: the table of CONTRIBUTING.md.

    python scripts/mutants.py              # all
    python scripts/mutants.py average NaN  # those whose description holds one of these words

Each mutation is made in a copy of `src/`; the work tree is not touched. The named tests run first on the copy as it is,
and must pass; then once for each mutation, until the first of them fails.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAWS, STATE, AUGMENT = "tests/training/test_laws.py", "tests/training/test_state.py", "tests/training/test_augment.py"
PROCESSES = "tests/training/test_processes.py"
TRANSLATION = "tests/training/test_translation.py"
TAKING_OVER = "tests/faces/test_taking_over.py"
PERSON = "tests/render/test_person.py"
METRICS, RANKING = "tests/evaluation/test_metrics.py", "tests/verdict/test_ranking.py"
TUNING = "tests/verdict/test_tuning.py"


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One way to break the code."""

    what: str
    file: str
    """Below src/facemix."""
    old: str
    """Stands there exactly once."""
    new: str
    tests: str
    """What must notice it."""


def weaker(strength: str) -> Mutation:
    return Mutation(
        what=f"`mixing` trains without {strength}",
        file="training/tasks.py",
        old="augmentation=params.augmentation,",
        new="augmentation=type(params.augmentation)(**(plain(params.augmentation) | "
        f"({{{strength!r}: 0.0}} if task.strategy.name == 'mixing' else {{}}))),",
        tests=LAWS,
    )


MUTATIONS = (
    Mutation(
        what="training on test faces too",
        file="training/tasks.py",
        old='rows = np.flatnonzero(pack.splits == "train")',
        new='rows = np.flatnonzero(np.isin(pack.splits, ["train", "test"]))',
        tests=LAWS,
    ),
    Mutation(
        what="face finder fitted on test faces too",
        file="faces/packing.py",
        old='if entry.split == "train"], dtype',
        new='if entry.split in ("train", "test")], dtype',
        tests="tests/faces/test_packs.py",
    ),
    Mutation(
        what="best step chosen on validation and test",
        file="training/tasks.py",
        old='judging.error_on(task.real, task.split("validation"))',
        new='judging.error_on(task.real, task.split("validation", "test"))',
        tests=LAWS,
    ),
    Mutation(
        what="best epoch of the adapter chosen on test",
        file="training/tasks.py",
        old='real, validation = task.real, task.split("validation")',
        new='real, validation = task.real, task.split("test")',
        tests=LAWS,
    ),
    Mutation(
        what="adapter fitted on validation labels too",
        file="training/tasks.py",
        old="    pairs = predict_pack(base, real, task.real_rows)\n",
        new='    object.__setattr__(task, "real_rows", np.union1d(task.real_rows, validation))\n'
        "    pairs = predict_pack(base, real, task.real_rows)\n",
        tests=LAWS,
    ),
    Mutation(
        what="`fine_tuning` trains twice the steps",
        file="strategies.py",
        old='"fine_tuning": {"synthetic_share": 0.0,',
        new='"fine_tuning": {"synthetic_share": 0.0, "budgets": 2,',
        tests=LAWS,
    ),
    Mutation(
        what="`fine_tuning` trains at the full rate",
        file="training/strategy.py",
        old="        if not self.starts_from:\n",
        new="        if True:\n",
        tests=LAWS,
    ),
    Mutation(
        what="`mixing` has a seed of its own",
        file="training/tasks.py",
        old="        seed=task.seed,\n    )\n    making",
        new='        seed=task.seed + (task.strategy.name == "mixing"),\n    )\n    making',
        tests=LAWS,
    ),
    weaker("rotation"),
    weaker("colour"),
    weaker("occlusion"),
    Mutation(
        what="with two heads a face has labels at the points of both",
        file="training/tasks.py",
        old="        labels[part] = np.nan\n",
        new="        labels[part] = 0\n",
        tests=LAWS,
    ),
    Mutation(
        what="of two heads that of synthetic faces is kept",
        file="training/heads.py",
        old="value[: len(expected[key])]",
        new="value[-len(expected[key]) :]",
        tests="tests/training/test_heads.py",
    ),
    Mutation(
        what="field of view 10 % off in training",
        file="training/tasks.py",
        old="        context=model.context,\n        input_size",
        new="        context=1.1 * model.context,\n        input_size",
        tests=LAWS,
    ),
    Mutation(
        what="field of view 10 % off in augmentation",
        file="training/augment.py",
        old="    field = context * (boxes",
        new="    field = 1.1 * context * (boxes",
        tests=AUGMENT,
    ),
    Mutation(
        what="faces framed by the box that they were cropped with",
        file="training/recipe.py",
        old="            torch.from_numpy(self.batches.boxes(step)),\n",
        new="            (torch.tensor([[-0.5, -0.5, 0.5, 0.5]]) * crop_size / 2 + (crop_size - 1) / 2)"
        ".expand(self.batches.batch_size, 4),\n",
        tests=LAWS,
    ),
    Mutation(
        what="moving average without buffers",
        file="training/state.py",
        old="return [*model.parameters(), *(buffer for buffer in model.buffers() if buffer.is_floating_point())]",
        new="return [*model.parameters()]",
        tests=STATE,
    ),
    Mutation(
        what="moving average with decay 0",
        file="training/state.py",
        old="get_ema_multi_avg_fn(min(decay, (1 + step) / (10 + step)))",
        new="get_ema_multi_avg_fn(0.0)",
        tests=STATE,
    ),
    Mutation(
        what="moving average not used",
        file="training/state.py",
        old="_copy(self.averaged.state_dict())",
        new="_copy(self.model.state_dict())",
        tests=STATE,
    ),
    Mutation(
        what="weight decay on everything",
        file="training/state.py",
        old='if p.ndim <= 1], "weight_decay": 0.0}',
        new='if p.ndim <= 1], "weight_decay": weight_decay}',
        tests=STATE,
    ),
    Mutation(
        what="a NaN on validation sticks",
        file="training/state.py",
        old="if not self.best or (math.isfinite(val_error) and val_error < min(so_far, default=math.inf)):",
        new='if not self.best or val_error < min((row["val_error"] for row in self.history), default=math.inf):',
        tests=STATE,
    ),
    Mutation(
        what="what is random in a backbone is not seeded",
        file="training/state.py",
        old="        seed_backbone(step_seed(recipe.seed, self.step) + group.rank, device)\n",
        new="",
        tests=STATE,
    ),
    Mutation(
        what="input of the backbone not normalised",
        file="training/model.py",
        old="self.backbone((images - self.mean) / self.deviation)",
        new="self.backbone(images)",
        tests="tests/training/test_model.py",
    ),
    Mutation(
        what="adapter: a mirrored face keeps the names of its points",
        file="training/adaptation.py",
        old="return points[:, torch.from_numpy(scheme.mirror.copy())] * ",
        new="return points * ",
        tests="tests/training/test_adaptation.py",
    ),
    Mutation(
        what="a new row with `adapts_predictions` gets no adapter",
        file="training/tasks.py",
        old="    if task.strategy.adapts_predictions:\n",
        new="    if task.strategy.shares_network_of:\n",
        tests=LAWS,
    ),
    Mutation(
        what="the network behind the adapter is not counted",
        file="training/tasks.py",
        old='        behind |= adapting.about["training"]["faces_seen"]\n',
        new="",
        tests=LAWS,
    ),
    Mutation(
        what="processes: statistics of the own part of the batch",
        file="training/processes.py",
        old="        return torch.stack(each)\n",
        new="        return torch.stack([own for _ in each])\n",
        tests=PROCESSES,
    ),
    Mutation(
        what="processes: no gradient through the others' statistics",
        file="training/processes.py",
        old="        dist.all_reduce(total)\n",
        new="",
        tests=PROCESSES,
    ),
    Mutation(
        what="processes: variance of the own number of faces",
        file="training/processes.py",
        old="n = x.numel() / x.shape[1] * len(means)",
        new="n = x.numel() / x.shape[1]",
        tests=PROCESSES,
    ),
    Mutation(
        what="box jitter ignored",
        file="training/predictions.py",
        old="predict_pack(landmarker, pack, rows, level)",
        new="predict_pack(landmarker, pack, rows)",
        tests=LAWS,
    ),
    Mutation(
        what="predictions stay in pixels of the crop",
        file="training/predictions.py",
        old="geometry.apply(back, points).astype",
        new="points.astype",
        tests="tests/training/test_predictions.py",
    ),
    Mutation(
        what="truth stays in pixels of the crop",
        file="evaluation/measure.py",
        old="return geometry.apply(geometry.invert(pack.transforms[rows]), pack.landmarks[rows])",
        new="return pack.landmarks[rows]",
        tests="tests/evaluation/test_measure.py",
    ),
    Mutation(
        what="NME in % of the predicted face's size",
        file="evaluation/metrics.py",
        old="size = face_size(truth, scheme, name)",
        new="size = face_size(predicted, scheme, name)",
        tests=METRICS,
    ),
    Mutation(
        what="a face whose error is NaN counts as a success",
        file="evaluation/metrics.py",
        old="np.mean(~(errors <= threshold))",
        new="np.mean(errors > threshold)",
        tests=METRICS,
    ),
    Mutation(
        what="one seed decides",
        file="verdict/comparison.py",
        old="    if n_seeds < 2:\n        return UNDECIDED\n",
        new="",
        tests=RANKING,
    ),
    Mutation(
        what="more faces seen is no advantage",
        file="verdict/comparison.py",
        old="    advantage = faces_seen - compared_faces_seen\n",
        new="    advantage = 0\n",
        tests=RANKING,
    ),
    Mutation(
        what="a gate looks again at no cost",
        file="verdict/gate.py",
        old="Look(seeds=n, confidence=1 - share)",
        new="Look(seeds=n, confidence=0.95 + 0 * share)",
        tests="tests/verdict/test_gain.py",
    ),
    Mutation(
        what="a gate is passed by more faces seen",
        file="stages/gate.py",
        old='(advantage > 0 and found.verdict == "supported")',
        new="False",
        tests="tests/stages/test_gate.py",
    ),
    Mutation(
        what="a gate's fault is a refutation",
        file="cli.py",
        old="GATE_FAILED = 3",
        new="GATE_FAILED = 1",
        tests="tests/stages/test_gate.py",
    ),
    Mutation(
        what="both strategies of a gate have the settings of one",
        file="stages/gate.py",
        old="if all(first[key] == second[key] for key in first.keys() & second.keys()):",
        new="if True:",
        tests="tests/stages/test_gate.py",
    ),
    Mutation(
        what="settings chosen on test, in advice",
        file="verdict/points.py",
        old='val_nme=float(row["val_nme"]),',
        new='val_nme=float(row["test_nme"]),',
        tests="tests/verdict/test_sweep_points.py",
    ),
    Mutation(
        what="settings chosen on test, in curves",
        file="sweeps/tables.py",
        old='val_nme=row["val_nme"],',
        new='val_nme=row["test_nme"],',
        tests="tests/sweeps/test_tables.py",
    ),
    Mutation(
        what="tries judged by seeds that not all have",
        file="verdict/tuning.py",
        old="for seed in shared]",
        new="for seed in tries[one]]",
        tests=TUNING,
    ),
    Mutation(
        what="best settings stand though they lack seeds",
        file="verdict/tuning.py",
        old="[] if missing else ",
        new="",
        tests=TUNING,
    ),
    Mutation(
        what="unequal search is not said",
        file="verdict/tuning.py",
        old="if least == most:",
        new="if True:",
        tests=TUNING,
    ),
    Mutation(
        what="hours of the network behind cost nothing",
        file="verdict/points.py",
        old="    return (*(behind(first) if first else ()), strategy)",
        new="    return (strategy,)",
        tests="tests/stages/test_advise.py",
    ),
    Mutation(
        what="a training that goes on forgets its time",
        file="clock.py",
        old="return self.before + time.monotonic() - self.began",
        new="return time.monotonic() - self.began",
        tests="tests/test_clock.py",
    ),
    Mutation(
        what="the digest of a training misses a folder of code",
        file="sweeps/run.py",
        old='"ls-tree", "-r", "-t", "-z", "HEAD"',
        new='"ls-tree", "-r", "-z", "HEAD"',
        tests="tests/sweeps/test_run.py",
    ),
    Mutation(
        what="one of two figures of a known point is taken",
        file="sweeps/known.py",
        old="if digest in found and figures(found[digest].result) != figures(one.result):",
        new="if False:",
        tests="tests/sweeps/test_known.py",
    ),
    Mutation(
        what="faces that choose the step train too",
        file="training/judging.py",
        old="return rows[~holds], rows[holds]",
        new="return rows, rows[holds]",
        tests=LAWS,
    ),
    Mutation(
        what="another scheme's points taken by their number",
        file="faces/schemes.py",
        old="pairs = [(places[name], place) for place, name in enumerate(other.points) if name in places]",
        new="pairs = [(place, place) for place, name in enumerate(other.points) if name in places]",
        tests=TRANSLATION,
    ),
    Mutation(
        what="translator whose mirror image has the points of the other scheme's sides",
        file="training/adaptation.py",
        old="targets = torch.cat([targets, mirrored(targets, target)])",
        new="targets = torch.cat([targets, targets * torch.tensor([-1.0, 1.0])])",
        tests=TRANSLATION,
    ),
    Mutation(
        what="translator without its frame",
        file="training/landmarker.py",
        old="geometry.crop_transform(self.frame.of(boxes), self.input_size, self.context)",
        new="geometry.crop_transform(boxes, self.input_size, self.context)",
        tests="tests/evaluation/test_export.py",
    ),
    Mutation(
        what="heads of other points taken over by their number",
        file="training/model.py",
        old="[list(theirs)]",
        new="[list(own)]",
        tests=TRANSLATION,
    ),
    Mutation(
        what="a half of the validation faces is judged by its own choice",
        file="benchmarks/halves.py",
        old="reported = halves[1 - judge]",
        new="reported = halves[judge]",
        tests="tests/benchmarks/test_halves.py",
    ),
    Mutation(
        what="a rendered person looks different in every picture",
        file="render/person.py",
        old="self.person if room in OF_THE_PERSON else self.index",
        new="self.index",
        tests=PERSON,
    ),
    Mutation(
        what="the camera stands nearer than was drawn",
        file="render/camera.py",
        old="distance = 10 * person.distance",
        new="distance = 5 * person.distance",
        tests=PERSON,
    ),
    Mutation(
        what="the tone curve works on each colour",
        file="render/camera.py",
        old="luma = np.maximum(radiance @ LUMA, 1e-6)[..., None]",
        new="luma = np.maximum(radiance, 1e-6)",
        tests="tests/render/test_colour.py",
    ),
    Mutation(
        what="calibrated on test faces too",
        file="training/predictions.py",
        old='rows = np.flatnonzero(pack.splits == "validation")',
        new='rows = np.flatnonzero(np.isin(pack.splits, ["validation", "test"]))',
        tests="tests/training/test_predictions.py",
    ),
    Mutation(
        what="what is hidden is learned at the cost of the points",
        file="training/model.py",
        old="probe(features.detach(), heatmaps.detach(), variance.detach())",
        new="probe(features, heatmaps, variance)",
        tests="tests/training/test_visibility.py",
    ),
    Mutation(
        what="covered points count as seen",
        file="training/augment.py",
        old="hidden = (masks[at] & inside)[..., None]",
        new="hidden = (masks[at] & ~masks[at] & inside)[..., None]",
        tests="tests/training/test_visibility.py",
    ),
    Mutation(
        what="expected errors in pixels of the crop",
        file="faces/looking.py",
        old="seen.errors / geometry.scale(transforms[part])[:, None]",
        new="seen.errors",
        tests="tests/training/test_predictions.py",
    ),
    Mutation(
        what="found faces are looked at once",
        file="use/detector.py",
        old="again = self.predict(image, _inside(image, geometry.landmark_box(first.points), expected))",
        new="again = first",
        tests="tests/stages/test_predict.py",
    ),
    Mutation(
        what="a shard is taken over though an image is another",
        file="faces/packing.py",
        old="if there and there.shard.images == crops.images():",
        new="if there and crops.images():",
        tests=TAKING_OVER,
    ),
    Mutation(
        what="a shard is taken over though a label has moved",
        file="faces/cropping.py",
        old="face.landmarks.tobytes() + transform.tobytes()",
        new="transform.tobytes()",
        tests=TAKING_OVER,
    ),
    Mutation(
        what="a shard is taken over though the margin is another",
        file="faces/cropping.py",
        old="face.landmarks.tobytes() + transform.tobytes()",
        new="face.landmarks.tobytes()",
        tests=TAKING_OVER,
    ),
    Mutation(
        what="a shard is taken over from a pack that other code made",
        file="faces/cropping.py",
        old="json.dumps([code(), cv2",
        new="json.dumps([cv2",
        tests=TAKING_OVER,
    ),
    Mutation(
        what="a crop of the shard before",
        file="faces/shards.py",
        old='np.searchsorted(self._starts, rows, side="right") - 1',
        new='np.searchsorted(self._starts, rows, side="left") - 1',
        tests="tests/faces/test_shards.py",
    ),
    Mutation(
        what="an exported file of other weights is used",
        file="use/detector.py",
        old='described["made_from"] == _digest(path)',
        new='bool(described["made_from"])',
        tests="tests/evaluation/test_export.py",
    ),
    Mutation(
        what="in shards it is lost who is shown",
        file="faces/formats/webdataset.py",
        old="said=said_by(table, row),",
        new='said=said_by(table, {"visible": row["visible"]}),',
        tests="tests/render/test_rendered_shards.py",
    ),
    Mutation(
        what="a tar that is cut off is taken for whole",
        file="faces/tars.py",
        old="if file.read(_BLOCK) != bytes(_BLOCK):",
        new="if file.read(_BLOCK).strip(bytes(1)) and False:",
        tests="tests/faces/test_tars.py",
    ),
    Mutation(
        what="a law that fails is asked all the same",
        file="verdict/advice.py",
        old="return bool(binom.sf(wrong - 1, len(tests), 1 - bootstrap.CONFIDENCE) < 1 - bootstrap.CONFIDENCE)",
        new="return False",
        tests="tests/verdict/test_advice.py",
    ),
    Mutation(
        what="a sweep ranks what finds other points",
        file="sweeps/results.py",
        old="if reason := results.why_unranked(point.strategy, detector.scheme, scheme):",
        new='if reason := "":',
        tests="tests/stages/test_any_scheme.py",
    ),
    Mutation(
        what="a face without labels in a region counts in it",
        file="sweeps/tables.py",
        old="(name, np.isfinite(of_part).all(axis=0))",
        new="(name, np.full(of_part.shape[1], True))",
        tests="tests/sweeps/test_tables.py",
    ),
)


class Broken(SystemExit):
    """The table cannot be made."""


def main(words: Sequence[str]) -> None:
    chosen = [one for one in MUTATIONS if not words or any(word in one.what for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        mutated = {one: changed(source, one) for one in chosen}  # all old texts are looked for before anything runs
        code, said = tested(source, *dict.fromkeys(one.tests for one in chosen))
        if code != 0:
            raise Broken(f"the tests fail on the code as it is:\n{said}")
        print("| mutation | killed by |\n|---|---|")
        survivors = []
        for one in chosen:
            path = source / "facemix" / one.file
            before = path.read_text(encoding="utf-8")
            path.write_text(mutated[one], encoding="utf-8")
            code, said = tested(source, one.tests)
            path.write_text(before, encoding="utf-8")
            if code not in (0, 1):  # 1: a test failed; more: there was nothing to run, or it could not be imported
                raise Broken(f"{one.what}: pytest ended with {code}:\n{said}")
            survivors += [one.what] if code == 0 else []
            print(f"| {one.what} | {killed_by(said) if code else '**survives**'} |", flush=True)
    if survivors:
        raise Broken(f"{len(survivors)} of {len(chosen)} survive")


def changed(source: Path, mutation: Mutation) -> str:
    """The mutated text of its file."""
    text = (source / "facemix" / mutation.file).read_text(encoding="utf-8")
    if (times := text.count(mutation.old)) != 1:
        raise Broken(
            f"{mutation.what}: {mutation.file} holds this {times} times, expected once; mend the mutation:\n"
            f"{mutation.old}"
        )
    return text.replace(mutation.old, mutation.new)


def tested(source: Path, *tests: str) -> tuple[int, str]:
    """Exit status and output of pytest, with the code of `source`."""
    # Without byte code: a file that changes twice in a second is not compiled anew.
    environment = os.environ | {"PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=False)
    return done.returncode, done.stdout + done.stderr


def killed_by(said: str) -> str:
    """The first test that failed."""
    found = re.search(r"^(?:FAILED|ERROR) \S+::(\w+)", said, re.MULTILINE)
    return f"`{found[1]}`" if found else "killed"


if __name__ == "__main__":
    main(sys.argv[1:])
