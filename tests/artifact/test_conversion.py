"""What all formats share: the check against the SavedModel, the files, the table."""

from __future__ import annotations

import io
import json
from pathlib import Path

import filelock
import numpy as np
import pytest
from rich.console import Console

from tests.artifact.tiny_artifacts import TEXTS
from tfhub_transfer.artifact import comparison
from tfhub_transfer.artifact.comparison import Built, compare
from tfhub_transfer.artifact.conversion import convert_with, print_conversion
from tfhub_transfer.artifact.functions import Functions
from tfhub_transfer.errors import ArtifactError, ConversionError

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(comparison, "_TURN_SECONDS", 0.001)


@pytest.fixture
def version(version_of) -> Path:
    return version_of("transformer")


def converter(*, shift=0.0, reverse=False, tokens=False, labels=True):
    """Return a builder of a model that is the SavedModel itself, with an error if wanted."""

    def build(functions: Functions) -> Built:
        def run(inputs):
            if tokens:
                answers = functions.predict_tokens(inputs)
            else:
                answers = functions.predict(inputs["text"])
            answers["probabilities"] = answers["probabilities"] + shift
            if not labels:
                del answers["label"]
            if reverse:
                answers["label"] = answers["label"][::-1]
            return answers

        return Built(
            content=b"model",
            file_name="model.bin",
            inputs=("input_mask", "input_type_ids", "input_word_ids") if tokens else ("text",),
            outputs=("probabilities",) if tokens else ("label", "probabilities", "score"),
            run=run,
            ops={"builtin": ["ADD"], "tensorflow_text": []},
            runtime="Anything",
            notes=["Mind the gap."],
        )

    return build


def convert(version, texts=TEXTS, *, quantize=False, **options):
    return convert_with(converter(**options), version, texts, format="bin", quantize=quantize)


def test_the_files_lie_beside_the_version(version):
    conversion = convert(version)
    directory = version.parent / "bin" / "1"
    assert conversion.file == directory / "model.bin"
    assert conversion.file.read_bytes() == b"model"
    names = {entry.name for entry in directory.iterdir()}
    assert names == {"model.bin", "labels.txt", "conversion.json"}
    assert (directory / "labels.txt").read_text() == "good\npoor\nother\n"
    assert {entry.name for entry in directory.parent.iterdir()} <= {"1", ".lock"}
    assert directory.stat().st_mode == directory.parent.stat().st_mode


def test_the_record_has_sizes_times_and_parity(version):
    convert(version)
    record = json.loads((version.parent / "bin" / "1" / "conversion.json").read_text())
    assert record["file"] == "model.bin"
    assert record["bytes"] == 5
    assert record["saved_model_bytes"] > 1_000
    assert record["milliseconds"].keys() == record["saved_model_milliseconds"].keys() == {"1", "32"}
    assert all(value > 0 for value in record["milliseconds"].values())
    assert (record["texts"], record["largest_difference"]) == (len(TEXTS), 0.0)
    assert record["equal_labels"] == 1.0
    assert record["ops"] == {"builtin": ["ADD"], "tensorflow_text": []}
    assert record["notes"] == ["Mind the gap."]


def test_a_model_of_tokens_says_how_to_make_them(version):
    conversion = convert(version, tokens=True)
    first, tokens, labels = conversion.notes
    assert first == "Mind the gap."
    assert "WordpieceTokenizeWithOffsets" in tokens
    assert "its vocabulary is vocabulary.txt here" in tokens
    assert (conversion.file.parent / "vocabulary.txt").read_text().startswith("[PAD]\n")
    assert "in the order of labels.txt" in labels


@pytest.mark.parametrize("shift", [1e-3, np.nan, np.inf])
def test_other_probabilities_are_an_error_and_leave_nothing(version, shift):
    with pytest.raises(ConversionError, match=r"by at most 1e-05\. Received: a difference.*bin"):
        convert(version, shift=shift)
    assert [entry.name for entry in (version.parent / "bin").iterdir()] in ([], [".lock"])


def test_a_quantised_model_may_differ_in_its_probabilities(version):
    conversion = convert(version, shift=1e-3, quantize=True)
    assert conversion.largest_difference == pytest.approx(1e-3, rel=0.01)


@pytest.mark.parametrize("quantize", [False, True])
def test_other_labels_are_an_error(version, quantize):
    hint = "of the texts; without" if quantize else r"of the texts\. "
    with pytest.raises(ConversionError, match=rf"SavedModel's label for at least 95% {hint}"):
        convert(version, reverse=True, quantize=quantize)


def test_labels_without_names_are_compared_by_their_probabilities(version, written):
    functions = Functions(version)
    tokens = converter(tokens=True)(functions)
    assert compare(functions, tokens, TEXTS) == (0.0, 1.0)
    several = Functions(written("static", several=True))
    assert compare(several, converter(labels=False)(several), TEXTS) == (0.0, 1.0)
    difference, equal = compare(several, converter(labels=False, shift=-1.0)(several), TEXTS)
    assert difference == pytest.approx(1.0)
    assert equal < 1.0


def test_a_conversion_is_never_replaced(version):
    convert(version)
    with pytest.raises(ConversionError, match=r"converted already.*Delete .* Received: .*bin/1"):
        convert(version)


def test_two_at_once_are_refused(version):
    (version.parent / "bin").mkdir()
    with (
        filelock.FileLock(version.parent / "bin" / ".lock"),
        pytest.raises(ConversionError, match=r"Another process is converting.*Received: .*bin/1"),
    ):
        convert(version)


def test_what_a_killed_conversion_left_is_removed(version):
    leftover = version.parent / "bin" / ".writing-abc"
    leftover.mkdir(parents=True)
    (leftover / "model.bin").write_bytes(b"half")
    convert(version)
    assert not leftover.exists()


def test_texts_are_needed(version):
    with pytest.raises(ConversionError, match=r"checked on texts.*Received: no texts"):
        convert(version, texts=[])


def test_only_exported_models_are_converted(tmp_path):
    with pytest.raises(ArtifactError, match="Not an exported model"):
        convert(tmp_path / "1")


def test_the_table_puts_both_models_side_by_side(version):
    conversion = convert(version, quantize=True)
    stream = io.StringIO()
    print_conversion(conversion, Console(file=stream, width=200))
    text = stream.getvalue()
    assert f"bin, int8: {conversion.file}" in text
    assert "ms per text, 32 at once" in text
    assert f"equal labels, of {len(TEXTS)}" in text
    assert "100.0%" in text
    assert "takes text; gives label, probabilities, score" in text
    assert "needs Anything, with the ops: builtin ADD\n" in text
    assert text.endswith("Mind the gap.\n")
