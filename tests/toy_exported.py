"""An exported detector of five points that nobody trained: two convolutions, made in milliseconds and without torch."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from facemix.faces import schemes
from facemix.training.frame import Frame
from facemix.use.runtime import KEY

SIZE, CONTEXT = 24, 1.25
SCHEME = schemes.load("five")
FRAME = Frame(down=0.1, scale=1.2)


def write(path: Path) -> Path:
    """Writes the file: random weights of all pixels say how far each point lies from the middle of the crop."""
    random = np.random.default_rng(0)
    features, k = 16, len(SCHEME)
    weights = {
        "first": random.normal(0, 0.3, (features, 3, 3, 3)),
        "second": random.normal(0, 2 / (SIZE * features**0.5), (3 * k, features, SIZE, SIZE)),
        "middle": np.full(1, (SIZE - 1) / 2),
        "one": np.ones(1),
    }
    shapes = {"points_shape": [-1, k, 2], "errors_shape": [-1, k], "split": [2 * k, k]}
    nodes = [
        helper.make_node("Conv", ["images", "first"], ["seen"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["seen"], ["kept"]),
        helper.make_node("Conv", ["kept", "second"], ["told"]),
        helper.make_node("Split", ["told", "split"], ["moves", "spreads"], axis=1),
        helper.make_node("Reshape", ["moves", "points_shape"], ["moved"]),
        helper.make_node("Add", ["moved", "middle"], ["landmarks"]),
        helper.make_node("Reshape", ["spreads", "errors_shape"], ["spread"]),
        helper.make_node("Abs", ["spread"], ["size"]),
        helper.make_node("Add", ["size", "one"], ["errors"]),
    ]
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    constants += [numpy_helper.from_array(np.array(value, dtype=np.int64), name) for name, value in shapes.items()]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [
            helper.make_tensor_value_info("landmarks", TensorProto.FLOAT, ["n", k, 2]),
            helper.make_tensor_value_info("errors", TensorProto.FLOAT, ["n", k]),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    described = {
        "scheme": SCHEME.as_dict(),
        "input_size": SIZE,
        "context": CONTEXT,
        "frame": dataclasses.asdict(FRAME),
        "finder": None,
        "radius": {"0.9": 2.0},
        "usual": 0.02,
        "made_from": "",
    }
    told = {"input_size": str(SIZE), "context": str(CONTEXT * FRAME.scale), KEY: json.dumps(described)}
    helper.set_model_props(model, told)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
