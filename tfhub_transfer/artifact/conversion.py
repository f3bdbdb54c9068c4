"""A version in another format: checked against the SavedModel, measured beside it, and written.

What all formats share; each has its own module with the function `convert`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock
from rich.console import Console
from rich.table import Table

from tfhub_transfer.artifact.comparison import Built, compare, measure
from tfhub_transfer.artifact.functions import Functions
from tfhub_transfer.artifact.predictor import Predictor
from tfhub_transfer.errors import ConversionError
from tfhub_transfer.runs import atomic_path

LARGEST_DIFFERENCE = 1e-5
"""Of probabilities, in a float format. MiniLM-L6 differs by 2e-6, from another order of sums."""

FEWEST_EQUAL_LABELS = 0.95
"""Of the texts, for an int8 format's probabilities may differ by some hundredths: ties flip."""

_WRITING = ".writing-"

_NO_LABEL = (
    "The probabilities are in the order of labels.txt; a reject threshold, or which of several "
    "labels apply, is left to whoever reads them."
)


@dataclass(frozen=True)
class Conversion:
    """A written conversion, as its `conversion.json` tells of it.

    Attributes:
        file: of the model.
        format: `tflite` or `onnx`.
        quantized: whether its weights are int8.
        inputs: `text`, or the names of a transformer's tokens; the SavedModel is compared and
            timed with the same input.
        outputs: their names.
        bytes: of the model's file.
        saved_model_bytes: of the SavedModel's graph, variables and assets.
        milliseconds: per text, by batch size.
        saved_model_milliseconds: the same of the SavedModel, in turns with it.
        texts: how many were compared.
        largest_difference: of a probability.
        equal_labels: share of the texts with the SavedModel's label; of a model that gives
            probabilities only, with the same class or classes by them.
        ops: see `Built`, as the rest.
        runtime: what runs it.
        notes: sentences that its user should not miss.
    """

    file: Path
    format: str
    quantized: bool
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    bytes: int
    saved_model_bytes: int
    milliseconds: Mapping[int, float]
    saved_model_milliseconds: Mapping[int, float]
    texts: int
    largest_difference: float
    equal_labels: float
    ops: Mapping[str, Sequence[str]] = field(default_factory=dict)
    runtime: str = ""
    notes: Sequence[str] = ()


def convert_with(
    build: Callable[[Functions], Built],
    version: Path,
    texts: Sequence[str],
    target: Path | None = None,
    *,
    format: str,
    quantize: bool,
) -> Conversion:
    """Write the model, labels.txt and conversion.json to a directory, all or nothing.

    Args:
        build: makes the model.
        version: an exported version.
        texts: to compare and time the models on.
        target: the directory, which must not exist; `NAME/FORMAT/VERSION` beside `NAME/VERSION`
            when not given.
        format: as `Conversion` names it.
        quantize: whether `build` quantises, so that small differences are no error.

    Raises:
        ArtifactError: `version` is no exported model.
        ConversionError: it cannot be converted, is converted already, or does not give what the
            SavedModel gives. Nothing half written is left behind.
    """
    version = Path(version)
    if not texts:
        raise ConversionError(
            "A conversion is checked on texts, such as those of the validation split. "
            "Received: no texts"
        )
    Predictor.load(version)  # for its errors
    target = target or version.parent / format / version.name
    with _new_directory(target) as directory:
        functions = Functions(version)
        built = build(functions)
        difference, equal = compare(functions, built, texts)
        _check(difference, equal, quantize=quantize, what=f"{target}")
        ours, theirs = measure(functions, built, texts)
        with atomic_path(directory / built.file_name) as file:
            file.write_bytes(built.content)
        _write(directory / "labels.txt", functions.labels())
        notes = [*built.notes, *_write_vocabulary(functions, built, directory)]
        if "label" not in built.outputs:
            notes.append(_NO_LABEL)
        conversion = Conversion(
            file=target / built.file_name,
            format=format,
            quantized=quantize,
            inputs=built.inputs,
            outputs=built.outputs,
            bytes=len(built.content),
            saved_model_bytes=_size(version),
            milliseconds=ours,
            saved_model_milliseconds=theirs,
            texts=len(texts),
            largest_difference=difference,
            equal_labels=equal,
            ops=built.ops,
            runtime=built.runtime,
            notes=notes,
        )
        record = dataclasses.asdict(conversion) | {"file": built.file_name}
        _write(directory / "conversion.json", json.dumps(record, indent=2) + "\n")
    return conversion


@contextlib.contextmanager
def _new_directory(target: Path) -> Iterator[Path]:
    """Yield a directory that takes `target`'s name if nothing failed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(target.parent / ".lock", timeout=0):
            if target.exists():
                raise ConversionError(
                    f"The version is converted already, and a conversion never replaces another. "
                    f"Delete the directory to convert it anew. Received: {target}"
                )
            for leftover in target.parent.glob(f"{_WRITING}*"):
                shutil.rmtree(leftover)
            scratch = Path(tempfile.mkdtemp(prefix=_WRITING, dir=target.parent))
            try:
                yield scratch
                scratch.chmod(target.parent.stat().st_mode)
                scratch.rename(target)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    except filelock.Timeout:
        raise ConversionError(
            f"Another process is converting a version of this model. Wait for it. "
            f"Received: {target}"
        ) from None


def _check(difference: float, equal: float, *, quantize: bool, what: str) -> None:
    received = f"a difference of {difference:.2g}, {equal:.1%} equal labels, for {what}"
    if not quantize and not difference <= LARGEST_DIFFERENCE:
        raise ConversionError(
            f"The converted model's probabilities should differ from the SavedModel's by at most "
            f"{LARGEST_DIFFERENCE:g}. Received: {received}"
        )
    if equal < FEWEST_EQUAL_LABELS:
        hint = "; without quantisation it does" if quantize else ""
        raise ConversionError(
            f"The converted model should give the SavedModel's label for at least "
            f"{FEWEST_EQUAL_LABELS:.0%} of the texts{hint}. Received: {received}"
        )


def _write(file: Path, text: str) -> None:
    with atomic_path(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _write_vocabulary(functions: Functions, built: Built, directory: Path) -> list[str]:
    """Put the vocabulary beside a model that takes tokens; return what its user has to know."""
    if built.inputs == ("text",):
        return []
    files = functions.vocabularies()
    for file in files:
        shutil.copyfile(file, directory / file.name)
    ops = ", ".join(functions.tokenizer_ops())
    vocabulary = (
        f"its vocabulary is {', '.join(file.name for file in files)} here"
        if files
        else "its vocabulary is the vocab.txt that the encoder was built from, which the artifact "
        "holds only compiled, inside its graph"
    )
    return [
        f"Texts have to be tokenised as the encoder's preprocessor does it ({ops}), to int32[B, S] "
        f"each; {vocabulary}."
    ]


def _size(version: Path) -> int:
    files = [version / "saved_model.pb", *version.glob("variables/*"), *version.glob("assets/*")]
    return sum(file.stat().st_size for file in files)


def print_conversion(conversion: Conversion, console: Console | None = None) -> None:
    """Print what was written, and how it compares to the SavedModel."""
    title = f"{conversion.format}{', int8' if conversion.quantized else ''}: {conversion.file}"
    columns = ("", conversion.format, "SavedModel")
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    table.add_row("MB", *(f"{size / 1e6:.1f}" for size in _both(conversion, "bytes")))
    for size in conversion.milliseconds:
        ours, theirs = (times[size] for times in _both(conversion, "milliseconds"))
        table.add_row(f"ms per text, {size} at once", f"{ours:.3g}", f"{theirs:.3g}")
    table.add_row("largest difference", f"{conversion.largest_difference:.1e}", "")
    table.add_row(f"equal labels, of {conversion.texts:,}", f"{conversion.equal_labels:.1%}", "")
    console = console or Console()
    console.print(title, style="bold", markup=False, highlight=False, soft_wrap=True)
    console.print(table)
    ops = "; ".join(f"{kind} {', '.join(names)}" for kind, names in conversion.ops.items() if names)
    lines = [
        f"takes {', '.join(conversion.inputs)}; gives {', '.join(conversion.outputs)}",
        f"needs {conversion.runtime}, with the ops: {ops}",
        *conversion.notes,
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _both(conversion: Conversion, name: str) -> tuple[Any, Any]:
    return getattr(conversion, name), getattr(conversion, f"saved_model_{name}")
