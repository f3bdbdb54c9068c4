"""TensorFlow Lite (LiteRT): text in, where TF Text has kernels for it; else a transformer's tokens.

Since TensorFlow 2.20 no Python package brings the delegate for TensorFlow's own ops ("Select TF
ops", "Flex"), https://github.com/google-ai-edge/LiteRT/issues/6458. A model that needs them could
be written, but neither run nor checked, and counts as one that cannot be converted.
"""

from __future__ import annotations

import functools
import os
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.lite.python import interpreter, schema_py_generated
from tensorflow_text.core.pybinds import tflite_registrar

from tfhub_transfer.artifact.conversion import Built, Conversion, convert_with
from tfhub_transfer.artifact.expanded_axes import with_expanded_axes
from tfhub_transfer.artifact.functions import Functions
from tfhub_transfer.artifact.predictor import DEFAULT_SIGNATURE
from tfhub_transfer.errors import ConversionError

_FLEX = "Flex"
# Of tensorflow/lite/python/interpreter.py. Its successor, ai_edge_litert (2.3), runs the files
# written here as well, TF Text's ops included, but would be one more package.
_DEPRECATED = r"\s*Warning: tf\.lite\.Interpreter is deprecated"
# how the converter, and the interpreter when it plans memory, name what they lack
_OP = re.compile(r"'tf\.(\w+)' op|unresolved custom op: (\w+)|Node number \d+ \((\w+)\)")


def convert(
    version: Path, texts: Sequence[str], target: Path | None = None, *, quantize: bool = False
) -> Conversion:
    """Write a version's `model.tflite`.

    The first of these that needs no Select TF ops: text to label, score and probabilities; text
    to probabilities; a transformer's tokens to probabilities.

    Args:
        version: an exported version.
        texts: to compare and time the models on.
        target: the directory to write; `NAME/tflite/VERSION` beside the version when not given.
        quantize: store the weights as int8 ("dynamic range"), and multiply in int8.

    Raises:
        ArtifactError: `version` is no exported model.
        ConversionError: an op cannot be converted, or the model's answers differ.
    """
    build = functools.partial(_build, quantize=quantize)
    return convert_with(build, version, texts, target, format="tflite", quantize=quantize)


class _Refused(Exception):
    """One of the ways to convert the model fails, for these ops."""

    def __init__(self, ops: Sequence[str], reason: str):
        super().__init__(reason)
        self.ops = ops


def _build(functions: Functions, *, quantize: bool) -> Built:
    ways: dict[str, Callable[[], Any]] = {
        "text to label": lambda: _from_signature(functions.version),
        "text to probabilities": lambda: _from_function(functions, functions.from_text()),
    }
    if functions.has_tokens:
        ways["tokens to probabilities"] = lambda: _from_function(
            functions, with_expanded_axes(functions.from_tokens())
        )
    refusals: dict[str, str] = {}
    for way, converter_of in ways.items():
        try:
            notes = [f"It could not be had as {first}: {why}." for first, why in refusals.items()]
            return _attempt(converter_of(), notes[:1], quantize)
        except _Refused as refusal:
            places = [f"{op} ({functions.place_of(op) or 'made by it'})" for op in refusal.ops]
            refusals[way] = f"{refusal}: {', '.join(places)}" if places else str(refusal)
    del refusals["text to label"]  # that is also refused for what only the label needs
    raise ConversionError(
        f"The model cannot be converted to TensorFlow Lite. "
        f"Received: {'; as '.join(f'{way}, {why}' for way, why in refusals.items())}; "
        f"in {functions.version}"
    )


def _from_signature(version: Path) -> Any:
    return tf.lite.TFLiteConverter.from_saved_model(
        str(version), signature_keys=[DEFAULT_SIGNATURE]
    )


def _from_function(functions: Functions, function: Any) -> Any:
    concrete = function.get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete], functions.loaded)


def _attempt(converter: Any, notes: Sequence[str], quantize: bool) -> Built:
    # With Select TF ops allowed, an op that TensorFlow Lite does not have is named in what comes
    # out, and all of them are.
    ops = tf.lite.OpsSet
    converter.target_spec.supported_ops = [ops.TFLITE_BUILTINS, ops.SELECT_TF_OPS]
    converter.allow_custom_ops = True
    if quantize:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    try:
        content = converter.convert()
    except Exception as error:  # the converter has no error class of its own for all that fails
        reason = f"the converter refuses ({_first_line(error)})"
        raise _Refused(_ops_in(str(error)), reason) from error
    builtin, custom = _ops_of(content)
    flex = [op.removeprefix(_FLEX) for op in custom if op.startswith(_FLEX)]
    if flex:
        raise _Refused(flex, "only the Flex delegate runs these, which Python has no more")
    runner = _runner(content)
    return Built(
        content=content,
        file_name="model.tflite",
        inputs=tuple(sorted(runner.get_input_details())),
        outputs=tuple(sorted(runner.get_output_details())),
        run=lambda inputs: runner(**inputs),
        ops={"builtin": builtin, "tensorflow_text": custom},
        runtime="TensorFlow Lite" + (" with TensorFlow Text's ops registered" if custom else ""),
        notes=notes,
    )


def _ops_of(content: bytes) -> tuple[list[str], list[str]]:
    """Return the names of a model's builtin and of its custom ops, in alphabetical order."""
    model = schema_py_generated.Model.GetRootAs(content, 0)
    names = {code: name for name, code in vars(schema_py_generated.BuiltinOperator).items()}
    builtin, custom = set(), set()
    for index in range(model.OperatorCodesLength()):
        operator = model.OperatorCodes(index)
        if operator.CustomCode():
            custom.add(operator.CustomCode().decode())
        else:
            # the older of the two fields ends at 127
            builtin.add(names[max(operator.BuiltinCode(), operator.DeprecatedBuiltinCode())])
    return sorted(builtin), sorted(custom)


def _runner(content: bytes) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _DEPRECATED, UserWarning)
            model = interpreter.InterpreterWithCustomOps(
                model_content=content,
                custom_op_registerers=tflite_registrar.SELECT_TFTEXT_OPS,
                num_threads=os.cpu_count(),
            )
        runner = model.get_signature_runner()
        # custom ops without a kernel are found when memory is planned
        runner(**{name: _example(detail) for name, detail in runner.get_input_details().items()})
    except (RuntimeError, ValueError) as error:
        raise _Refused(_ops_in(str(error)), f"it does not run ({_first_line(error)})") from error
    return runner


def _example(detail: dict[str, Any]) -> np.ndarray:
    return np.array([b"a"], object) if detail["dtype"] is np.bytes_ else np.ones([1, 2], np.int32)


def _ops_in(message: str) -> list[str]:
    names = {next(filter(None, found)) for found in _OP.findall(message)}
    return sorted(name.removeprefix(_FLEX) for name in names)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
