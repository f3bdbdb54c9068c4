"""What a run's model said of its validation and test rows, kept for whoever comes after training.

Calibration, the reject threshold, warm-up requests and the check of an export need no data source
then, which may be far away, and encode no text a second time.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfhub_transfer.data.examples import Examples
from tfhub_transfer.errors import RunError
from tfhub_transfer.runs import Run, atomic_path

_SAMPLE = 256  # validation texts that are kept
_ARRAYS = "predictions.npz"
_TEXTS = "validation_texts.json"


@dataclass(frozen=True)
class Split:
    """Targets and probabilities of the same rows.

    Attributes:
        targets: int[N] class indices, or uint8[N, C].
        probabilities: float32[N, C], as the trained model gave them.
    """

    targets: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True)
class Predictions:
    """Of a finished run.

    Attributes:
        validation: what training was steered by; calibration is fitted on it.
        test: what calibration is measured on.
        texts: some validation texts, the longest among them.
    """

    validation: Split
    test: Split
    texts: tuple[str, ...]

    def save(self, run: Run) -> None:
        """Write `predictions.npz` and `validation_texts.json`."""
        arrays = {
            f"{split}_{name}": getattr(getattr(self, split), name)
            for split in ("validation", "test")
            for name in ("targets", "probabilities")
        }
        with atomic_path(run.path / _ARRAYS) as temporary:
            np.savez_compressed(temporary, **arrays)
        save_texts(run, self.texts)

    @classmethod
    def load(cls, run: Run) -> Predictions:
        """Read what `save` wrote.

        Raises:
            RunError: a file is missing or damaged.
        """
        try:
            with np.load(run.path / _ARRAYS) as arrays:
                splits = {
                    split: Split(arrays[f"{split}_targets"], arrays[f"{split}_probabilities"])
                    for split in ("validation", "test")
                }
            texts = _read_texts(run)
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise RunError(
                f"The run's predictions, {_ARRAYS} and {_TEXTS}, cannot be read ({error}); "
                f"training writes them at its end. Received: {run.path}"
            ) from error
        return cls(**splits, texts=texts)


def save_texts(run: Run, texts: Sequence[str] | Sequence[tuple[str, str]]) -> None:
    """Write `validation_texts.json`: texts, or pairs of a question and its context."""
    run.write_text(_TEXTS, json.dumps(list(texts), ensure_ascii=False, indent=1) + "\n")


def load_texts(run: Run) -> tuple[str, ...]:
    """Read `validation_texts.json`.

    Raises:
        RunError: it is missing or damaged.
    """
    return _readable(run, _read_texts)


def load_pairs(run: Run) -> tuple[tuple[str, str], ...]:
    """Read the `validation_texts.json` of a run on questions.

    Raises:
        RunError: it is missing or damaged.
    """
    return _readable(run, _read_pairs)


def _readable(run: Run, read: Callable[[Run], Any]) -> Any:
    try:
        return read(run)
    except (OSError, ValueError) as error:
        raise RunError(
            f"The run's {_TEXTS} cannot be read ({error}); training writes it at its end. "
            f"Received: {run.path}"
        ) from error


def _read_texts(run: Run) -> tuple[str, ...]:
    texts = _read(run)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{_TEXTS} should be a list of texts")
    return tuple(texts)


def _read_pairs(run: Run) -> tuple[tuple[str, str], ...]:
    pairs = _read(run)
    if not all(
        isinstance(pair, list) and [type(text) for text in pair] == [str, str] for pair in pairs
    ):
        raise ValueError(f"{_TEXTS} should be a list of pairs, of a question and its context")
    return tuple((question, context) for question, context in pairs)


def _read(run: Run) -> list[Any]:
    found = json.loads((run.path / _TEXTS).read_text(encoding="utf-8"))
    if not isinstance(found, list):
        raise ValueError(f"{_TEXTS} should be a list of texts")
    return found


def sample_texts(examples: Examples, seed: int) -> tuple[Any, ...]:
    """Return texts of `examples`, all or some drawn at random, the longest of those first drawn.

    Of questions, pairs of a question and its context.
    """
    draw = np.random.default_rng(seed)
    rows = draw.permutation(len(examples))
    texts = examples.encodable(rows[: 4 * _SAMPLE])
    longest = max(texts, key=lambda text: len("".join(text)))
    return tuple(dict.fromkeys([longest, *texts]))[:_SAMPLE]
