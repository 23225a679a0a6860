import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from facemix import config
from facemix.config import ConfigError
from facemix.evaluation.metrics import AUTO
from facemix.faces import splits
from facemix.stages import preset as presets
from facemix.training.strategy import lasting

REPOSITORY = Path(__file__).resolve().parents[1]
PARAMS = REPOSITORY / "params.yaml"
TRAINING_FROM = splits.VALIDATION_SHARE + splits.TEST_SHARE


def content() -> Any:
    return YAML(typ="safe").load(PARAMS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(alpha=1.5), r"alpha: found 1\.5, expected a share of synthetic faces, 0 to 1"),
        (lambda c: c.update(alpha=-0.1), "alpha: found -0.1"),
        (lambda c: c.update(alpha="half"), "alpha: found 'half', expected a number"),
        (lambda c: c.update(alpha=True), "alpha: found True, expected a number"),
        (lambda c: c.update(alpha=float("nan")), "alpha: found nan"),
        (lambda c: c.update(alfa=0.5), r"alfa: unknown key; did you mean alpha\?"),
        (lambda c: c.pop("n_real"), "n_real: missing key"),
        (lambda c: c.update(n_real=0), "n_real: found 0, expected a number of faces, at least 1, or all"),
        (lambda c: c.update(n_real="many"), "n_real: found 'many', expected a whole number or all"),
        (lambda c: c.update(seeds=[]), r"seeds: found \[\], expected at least one seed"),
        (lambda c: c.update(seeds=[1, 1]), "expected each seed once"),
        (lambda c: c.update(seeds=[0.5]), r"seeds\[0\]: found 0\.5, expected a whole number"),
        (lambda c: c["training"].update(steps="2k"), "training.steps: found '2k', expected a whole number"),
        (lambda c: c["training"].update(step=3), r"training.step: unknown key; did you mean training.steps\?"),
        (lambda c: c["training"].update(device="gpu"), "training.device: found 'gpu', expected one of auto, cpu, cuda"),
        (lambda c: c["training"].update(compile=1), "training.compile: found 1, expected true or false"),
        (lambda c: c["model"].update(input_size=100), "model.input_size: found 100, expected a multiple of 16"),
        (lambda c: c["evaluation"].update(normalizer=""), "the name of a face size"),
        (lambda c: c["training"].update(batch_size=1), "training.batch_size: found 1, expected at least 2: batch norm"),
        (
            lambda c: c["training"].update(warmup_steps=481),
            "warmup_steps: found 481, expected 0 to training.steps",
        ),
        (
            lambda c: c["model"].update(context=2.1),
            r"model.context: found 2.1, expected at most pack.margin \(2.0\): the network must not look beyond",
        ),
        (lambda c: c.update(n_real=241), r"n_real: found 241, expected at most render.stand_in.n \(240\), or all"),
        (
            lambda c: c.update(n_synthetic=241),
            r"n_synthetic: found 241, expected at most render.synthetic.n \(240\), or all: no other faces are there",
        ),
        (lambda c: c.update(model=3), "model: found 3, expected a mapping"),
        (lambda c: c["sources"].update(real=[{"name": "a"}]), r"sources.real\[0\].format: missing key"),
        (
            lambda c: c["sources"].update(
                real=[{"name": "a", "format": "300w"}], synthetic=[{"name": "a", "format": "300w"}]
            ),
            "sources: found 'a', expected each source once",
        ),
        (
            lambda c: c["sources"].update(synthetic=[{"name": "rendered", "format": "facesynthetics"}]),
            "sources: found 'rendered', expected another name: this one stands for rendered faces",
        ),
        (
            lambda c: c["sources"].update(real=[{"name": "a", "format": "300w"}]),
            r"render.stand_in.n: found 240, expected 0 where sources.real names faces \(a\)",
        ),
        (lambda c: c["render"]["synthetic"].update(n=-1), "render.synthetic.n: found -1, expected 0 to"),
        (lambda c: c["render"]["synthetic"].update(seed=-1), "render.synthetic.seed: found -1, expected 0 to"),
        (lambda c: c["render"]["stand_in"].update(image_size=8), "render.stand_in.image_size: found 8, expected 32 to"),
        (
            lambda c: c["render"]["synthetic"].update(population=3),
            "render.synthetic.population: found 3, expected a ma",
        ),
    ],
)
def test_a_bad_value_is_refused_by_key(change: Callable[[Any], object], message: str) -> None:
    params = content()
    change(params)
    with pytest.raises(ConfigError, match=message):
        config.parse(params)


def test_imported_faces_lift_the_limit_that_rendered_ones_set() -> None:
    params = content()
    params.update(n_synthetic=1000)
    params["sources"].update(synthetic=[{"name": "a", "format": "facesynthetics"}])
    assert config.parse(params).n_synthetic == 1000


def test_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"params\.yaml: not found; run the command at the project's root"):
        config.load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("alpha: [")
    with pytest.raises(ConfigError, match=r"params\.yaml: not valid YAML"):
        config.load(tmp_path / "params.yaml")


def test_plain_gives_back_what_the_file_holds() -> None:
    params = config.parse(content())
    assert config.plain(params.training) == content()["training"]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS.read_text())
    return path


def test_an_update_changes_its_keys_and_no_other_line(copy: Path) -> None:
    before = copy.read_text().splitlines()
    config.update_params(copy, {"training.steps": 700, "sources.synthetic": [{"name": "a", "format": "300w"}]})
    after = copy.read_text().splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert changed == ["  synthetic: [{name: a, format: 300w}]", "  steps: 700"]
    assert config.load(copy).training.steps == 700


def test_an_optional_key_comes_and_goes_without_a_trace(copy: Path) -> None:
    before = copy.read_text()
    config.update_params(copy, {"render.synthetic.labels": "steady", "render.stand_in.scheme": "wflw98"})
    assert config.load(copy).render.synthetic.labels == "steady"
    assert config.load(copy).render.stand_in.scheme == "wflw98"
    assert len(copy.read_text().splitlines()) == len(before.splitlines()) + 2
    config.update_params(copy, {"render.synthetic.labels": None, "render.stand_in.scheme": None})
    assert copy.read_text() == before


@pytest.mark.parametrize(
    "changes",
    [
        {"alpha": 2},
        {"training.stepz": 1},
        {"alpha": 0.5, "nothing.here": 1},
        {"training.steps.here": 1},
        {"training.steps": None},
        {"sources.real.labels": "steady"},
    ],
)
def test_a_refused_update_leaves_the_file_as_it_was(copy: Path, changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        config.update_params(copy, changes)
    assert copy.read_text() == PARAMS.read_text()
    assert list(copy.parent.iterdir()) == [copy]


@pytest.mark.parametrize("name", [path.stem for path in (REPOSITORY / "presets").glob("*.yaml")])
def test_every_preset_fits_and_keeps_comments(name: str, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    changes = presets.preset(name, copy)
    assert changes
    assert copy.read_text().count("#") == PARAMS.read_text().count("#")
    config.load(copy)


def test_an_unknown_preset_is_answered_with_the_known_ones(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises(ValueError, match="no such preset; there are: .*smoke"):
        presets.preset("smok", copy)


def test_errors_are_measured_as_the_scheme_of_the_faces_says_until_somebody_chooses() -> None:
    assert config.load(PARAMS).evaluation.normalizer == AUTO


def test_every_preset_takes_back_what_another_changes(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    named = [presets.preset(path.stem, copy).keys() for path in sorted((REPOSITORY / "presets").glob("*.yaml"))]
    assert all(keys == named[0] for keys in named)


def test_a_fresh_clone_holds_the_demo_preset(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    presets.preset("smoke", copy)
    presets.preset("demo", copy)
    assert config.load(copy) == config.load(PARAMS)


def test_a_preset_that_changes_no_value_changes_no_letter(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    before = copy.read_text(encoding="utf-8")
    presets.preset("demo", copy)
    assert copy.read_text(encoding="utf-8") == before
    config.update_params(copy, {"alpha": 1, "training.learning_rate": 0.02})
    config.update_params(copy, {"alpha": 0.5})
    assert copy.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("name", ["demo", "smoke"])
def test_no_preset_renders_a_stand_in_where_real_faces_are(
    name: str, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    config.update_params(copy, {"sources.real": [{"name": "a", "format": "300w"}], "render.stand_in.n": 0})
    assert presets.preset(name, copy)["render.stand_in.n"] == 0
    assert config.load(copy).render.stand_in.n == 0


@pytest.mark.parametrize("name", ["demo", "smoke"])
def test_a_stand_in_is_large_enough_for_its_preset(name: str, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    presets.preset(name, copy)
    params = config.load(copy)
    counts = Counter(
        "validation" if place < splits.VALIDATION_SHARE else "test" if place < TRAINING_FROM else "train"
        for place in (splits.fraction("split", f"{i:06d}") for i in range(params.render.stand_in.n))
    )
    assert counts["train"] >= (1 if params.n_real == "all" else params.n_real)
    assert params.render.synthetic.n >= (1 if params.n_synthetic == "all" else params.n_synthetic)
    assert min(counts.values()) >= 10


def test_no_key_has_a_name_that_the_run_cache_of_dvc_ignores() -> None:
    def names(node: Any) -> set[str]:
        return set(node) | {n for child in node.values() for n in names(child)} if isinstance(node, dict) else set()

    # DVC leaves out `size` and `nfiles` wherever they stand: a change of such a key would bring back old outputs.
    assert not {"size", "nfiles"} & names(content())


def test_dotted_keys_are_looked_up_and_changed_in_a_copy() -> None:
    plain = {"alpha": 0.5, "training": {"steps": 7, "seeds": (1, 2)}}
    changed = config.changed(plain, {"alpha": 1, "training.steps": 9})
    assert changed == {"alpha": 1, "training": {"steps": 9, "seeds": [1, 2]}}
    assert [config.lookup(one, "training.steps") for one in (plain, changed)] == [7, 9]
    for key in ("beta", "training.step", "alpha.steps"):
        with pytest.raises(KeyError, match=key):
            config.changed(plain, {key: 1})


@pytest.mark.parametrize(("steps", "expected"), [(600, (600, 30, 60)), (4800, (4800, 240, 480)), (1, (1, 0, 1))])
def test_another_number_of_steps_keeps_the_shares_of_warm_up_and_evaluations(
    steps: int, expected: tuple[int, int, int], params: config.Params
) -> None:
    training = dataclasses.replace(params.training, steps=2400, warmup_steps=120, evaluate_every=240)
    changed = lasting(training, steps)
    assert (changed.steps, changed.warmup_steps, changed.evaluate_every) == expected
