"""ONNX, for ONNX Runtime: a transformer's tokens to probabilities.

ONNX Runtime has none of the ops that read text: not TF Text's, nor TensorFlow's own. (Those of
onnxruntime-extensions 0.15 were tried: of `StringSplitV2` and `StringToHashBucketFast`, as tf2onnx
1.17 writes them, came wrong probabilities.) So a text embedding cannot be converted.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tfhub_transfer.artifact.conversion import Built, Conversion, convert_with
from tfhub_transfer.artifact.functions import Functions
from tfhub_transfer.errors import ConversionError

OPSET = 18
_ONNX = ("", "ai.onnx", "ai.onnx.ml")  # domains of the standard's own ops


def convert(
    version: Path, texts: Sequence[str], target: Path | None = None, *, quantize: bool = False
) -> Conversion:
    """Write a version's `model.onnx`.

    Args:
        version: an exported version.
        texts: to compare and time the models on.
        target: the directory to write; `NAME/onnx/VERSION` beside the version when not given.
        quantize: store the weights of matrix products and embeddings as int8, and multiply in
            int8 ("dynamic").

    Raises:
        ArtifactError: `version` is no exported model.
        ConversionError: an op cannot be converted, the model's answers differ, or packages are
            missing.
    """
    _packages()
    build = functools.partial(_build, quantize=quantize)
    return convert_with(build, version, texts, target, format="onnx", quantize=quantize)


def _packages() -> tuple[ModuleType, ModuleType, ModuleType]:
    """Return onnx, onnxruntime and tf2onnx, which an extra brings."""
    try:
        import onnx
        import onnxruntime
        import tf2onnx
    except ModuleNotFoundError as error:
        raise ConversionError(
            f"ONNX takes packages that are not installed: pip install 'tfhub-transfer[onnx]'. "
            f"Received: no {error.name}"
        ) from error
    return onnx, onnxruntime, tf2onnx


def _build(functions: Functions, *, quantize: bool) -> Built:
    _, onnxruntime, _ = _packages()
    with _quiet():
        model = _converted(functions)
        if quantize:
            model = _quantized(model)
    content = model.SerializeToString()
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # its error classes are private to the runtime
        raise ConversionError(
            f"ONNX Runtime refuses the converted model: {error}. Received: {functions.version}"
        ) from error
    names = [value.name for value in model.graph.output]
    return Built(
        content=content,
        file_name="model.onnx",
        inputs=tuple(sorted(value.name for value in model.graph.input)),
        outputs=tuple(names),
        run=lambda inputs: dict(zip(names, session.run(names, inputs), strict=True)),
        ops={
            "builtin": sorted({node.op_type for node in model.graph.node}),
            "tensorflow_text": [],
        },
        runtime=f"ONNX Runtime, opset {OPSET}",
    )


def _converted(functions: Functions) -> Any:
    onnx, _, tf2onnx = _packages()
    function = functions.from_tokens() if functions.has_tokens else functions.from_text()
    try:
        model, _ = tf2onnx.convert.from_function(
            function,
            input_signature=function.input_signature,
            opset=OPSET,
            custom_op_handlers={"Erfc": (_erfc, [])},
        )
    except Exception as error:  # tf2onnx raises whatever its graph rewriters do
        raise ConversionError(
            f"tf2onnx cannot convert the model: {error}. Received: {functions.version}"
        ) from error
    # what it has no equivalent for, it leaves as it is
    refused = Counter(
        node.op_type
        for node in model.graph.node
        if node.domain not in _ONNX or not onnx.defs.has(node.op_type, node.domain)
    )
    if refused:
        places = [f"{op} ({functions.place_of(op) or 'made by tf2onnx'})" for op in sorted(refused)]
        hint = "" if functions.has_tokens else "; of text encoders only transformers can be"
        raise ConversionError(
            f"The model cannot be converted to ONNX, which has no such ops{hint}. "
            f"Received: {', '.join(places)}, in {functions.version}"
        )
    return model


def _erfc(graph: Any, node: Any, name: str, arguments: Sequence[Any]) -> None:
    """Write Erfc, of GELU, as 1 - Erf: tf2onnx 1.17 has no handler for it, and ONNX only Erf."""
    del name, arguments
    _, _, tf2onnx = _packages()
    source, outputs = node.input[0], node.output
    graph.remove_node(node.name)
    erf = graph.make_node("Erf", [source])
    one = graph.make_const(tf2onnx.utils.make_name("one"), np.array(1.0, np.float32))
    graph.make_node("Sub", [one.output[0], erf.output[0]], outputs=outputs, name=node.name)


def _quantized(model: Any) -> Any:
    """Return the model with int8 weights, one scale for each of a kernel's columns.

    Products with a kernel of one column stay: they are the sums of layer norms, where rounding
    saves nothing and does most of the harm (a MiniLM-L6 kept one label in five). Weights have seven
    bits: with eight, sums of products overflow on processors that have AVX2 without VNNI.
    """
    onnx, _, _ = _packages()
    from onnxruntime.quantization import quantize_dynamic

    columns = {weight.name: weight.dims[-1] for weight in model.graph.initializer if weight.dims}
    sums = [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul" and any(columns.get(name) == 1 for name in node.input)
    ]
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "model.onnx"
        quantize_dynamic(
            model, file, per_channel=True, reduce_range=True, nodes_to_exclude=sums
        )
        return onnx.load(file)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what tf2onnx and onnxruntime log, which our errors say."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
