"""A model as an ONNX graph, written from the variant's row with the operators that ONNX defines for these layers.

Not converted from JAX's operations: of the converters for JAX none installs beside current JAX, Flax and Orbax, and so
a convolution stays one ``Conv`` node, as other tools' optimisers expect.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from alexnet_jax.errors import RequestError
from alexnet_jax.model import layers
from alexnet_jax.model.alexnet import AlexNet
from alexnet_jax.model.variants import Conv

OPSET = 17
IR_VERSION = 8  # the oldest that has this operator set, so that old runtimes read the file
NEEDS = "needs onnx and onnxruntime: pip install -e '.[export]' in the checkout; or write a .stablehlo file."
EPSILON = 1e-5  # of batch norm


class Graph:
    """Nodes one after the other, each reading what the one before wrote."""

    def __init__(self, first: str):
        self.last, self.nodes, self.arrays = first, list[Any](), list[Any]()

    def add(self, operator: str, name: str, *arrays: Any, **attributes: Any) -> None:
        """Appends a node whose output is called ``name``; its further inputs are ``arrays``, None for one left out."""
        from onnx import helper, numpy_helper

        inputs = [self.last]
        for number, array in enumerate(array for array in arrays if array is not None):
            own = np.ascontiguousarray(array)
            self.arrays.append(numpy_helper.from_array(own, f"{name}.{number}"))
            inputs.append(f"{name}.{number}")
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        self.last = name


def write(model: AlexNet, path: Path, said: Mapping[str, Any] | None = None) -> None:
    """Writes a model's evaluation: "images" [batch, size, size, 3] normalised, to "logits" [batch, classes], float32.

    What is ``said`` of it is in the file's ``metadata_props``: texts as they are, all else as JSON.

    Raises:
      RequestError: If the package onnx is missing.
    """
    try:
        import onnx
    except ImportError as error:
        raise RequestError(f"{path.name}: an ONNX file {NEEDS}") from error
    from onnx import TensorProto, helper

    graph = _build(model)
    size = model.image_size
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", size, size, 3])
    logits = helper.make_tensor_value_info(
        "logits", TensorProto.FLOAT, ["batch", model.num_classes]
    )
    body = helper.make_graph(graph.nodes, model.variant.name, [images], [logits], graph.arrays)
    proto = helper.make_model(
        body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    props = {
        name: value if isinstance(value, str) else json.dumps(value, allow_nan=False)
        for name, value in (said or {}).items()
    }
    helper.set_model_props(proto, props)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def run(path: Path, batches: list[np.ndarray]) -> list[np.ndarray]:
    """Returns the logits that onnxruntime computes for each batch, on the CPU.

    Raises:
      RequestError: If onnxruntime is missing.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise RequestError(f"{path.name} was not kept: checking it {NEEDS}") from error
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [np.asarray(session.run(["logits"], {"images": images})[0]) for images in batches]


def _build(model: AlexNet) -> Graph:
    variant, graph = model.variant, Graph("images")
    graph.add("Transpose", "channels_first", perm=[0, 3, 1, 2])
    for number, row in enumerate(variant.convolutions, start=1):
        _add_conv(graph, f"conv{number}", row, _arrays(model, f"conv{number}"))
        if variant.batch_norm:
            own = _arrays(model, f"bn{number}")
            statistics = (own[name] for name in ("scale", "bias", "mean", "var"))
            graph.add("BatchNormalization", f"bn{number}", *statistics, epsilon=EPSILON)
        graph.add("Relu", f"relu{number}")
        if number in variant.local_response_norm:
            # ONNX's alpha is divided by the 5 channels of the sum; the paper's 1e-4 is not.
            graph.add("LRN", f"norm{number}", size=5, alpha=5e-4, beta=0.75, bias=2.0)
        if row.pool is not None:
            window, stride = row.pool
            graph.add(
                "MaxPool",
                f"pool{number}",
                kernel_shape=[window, window],
                strides=[stride, stride],
            )
    if variant.average_pool is not None:
        matrix = layers.averaging(variant.feature_size(model.image_size), variant.average_pool)
        graph.add("Einsum", "avgpool", matrix, matrix, equation="bchw,ih,jw->bcij")
    graph.add("Transpose", "channels_last", perm=[0, 2, 3, 1])
    graph.add("Flatten", "flatten", axis=1)
    for name in variant.dense_names:
        own = _arrays(model, name)
        classifier = name == variant.dense_names[-1]
        graph.add("Gemm", "logits" if classifier else name, own["kernel"], own["bias"])
        if not classifier:
            graph.add("Relu", name.replace("fc", "relu"))
    return graph


def _add_conv(graph: Graph, name: str, row: Conv, arrays: dict[str, np.ndarray]) -> None:
    same = isinstance(row.padding, str)  # XLA's "SAME" has the odd pixel at the end, as SAME_UPPER
    padding = {"auto_pad": "SAME_UPPER"} if same else {"pads": [row.padding] * 4}
    graph.add(
        "Conv",
        name,
        arrays["kernel"].transpose(3, 2, 0, 1),
        arrays.get("bias"),
        kernel_shape=[row.kernel, row.kernel],
        strides=[row.stride, row.stride],
        group=row.groups,
        **padding,
    )


def _arrays(model: AlexNet, layer: str) -> dict[str, np.ndarray]:
    """Returns a layer's parameters and statistics by name."""
    state = nnx.to_pure_dict(nnx.state(getattr(model, layer)))
    return {name: np.asarray(array, np.float32) for name, array in state.items()}
