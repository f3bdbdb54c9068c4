"""Answers to questions, in an export."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from rich.table import Table

from tfhub_transfer.artifact.answerer import save_answerer
from tfhub_transfer.artifact.predictor import DEFAULT_SIGNATURE, N_BEST
from tfhub_transfer.artifact.serving_files import SENTENCE
from tfhub_transfer.artifact.settings import ExportConfig
from tfhub_transfer.artifact.task import TaskExport
from tfhub_transfer.artifact.verification import HARD_TEXTS, Expected
from tfhub_transfer.encoders.word_pieces import as_inputs
from tfhub_transfer.errors import ConfigError, ConversionError
from tfhub_transfer.evaluation.located import Answer, answers_to
from tfhub_transfer.evaluation.predictions import load_pairs
from tfhub_transfer.runs import Run
from tfhub_transfer.training.classifier import Classifier

__all__ = ["HARD_PAIRS", "AnsweringExport"]

_VERIFIED_PAIRS = 64  # of the validation split, besides the hard ones
_AT_ONCE = 16
# Of a hard text: each context of a batch takes as many vectors as the longest has words.
_CHARACTERS = 4000
_TIES = 0.01
# Rounding may change the order of two answers whose logits are closer.
_MARGIN = 1e-3

_LONG = "The lamp in room {} is green, and nobody knows why. "
HARD_PAIRS = (
    ("", ""),
    ("", "Ada wrote it in 1843."),
    ("Who wrote it?", ""),
    ("Who wrote it?", "?!"),
    ("Who wrote it?", "Who wrote it? Ada wrote it. Who wrote it? Who wrote it?"),
    ("Who? " * 400, "Ada wrote it in 1843."),
    ("谁写的?", "这家餐厅的服务非常好,我们还会再来。"),
    ("من كتب؟", "الخدمة كانت ممتازة والطعام لذيذ"),
    ("Wo?", "In der Straße 👩🏽‍🚀 von İstanbul (e\u0301) \u202eno\u202c."),
    # many windows of any transformer
    ("Which room is it?", "".join(map(_LONG.format, range(400)))),
    *(("What is it about?", text[:_CHARACTERS]) for text in HARD_TEXTS),
    *((text[:_CHARACTERS], text[:_CHARACTERS]) for text in HARD_TEXTS[2:4]),
)
"""What real validation questions may lack, and what breaks careless decoding."""


class AnsweringExport(TaskExport):
    """A stretch of a context for each question."""

    second = N_BEST
    example: ClassVar[dict[str, str]] = {
        "question": "When did the answer come?",
        "context": SENTENCE,
    }

    def __init__(self, run: Run, config: ExportConfig):
        super().__init__(run, config)
        if config.reject_precision is not None:
            raise ConfigError(
                f"From where on a question gets no answer is found in training, on validation "
                f"questions: reject_precision is for task classification, and must not be given. "
                f"Accepted: span.no_answer in training. Received: {config.reject_precision}"
            )
        if config.format:
            raise ConversionError(
                f"A model of answers is not converted to other formats: how contexts are read in "
                f"windows, and answers are decided, takes ops that their runtimes do not have. "
                f"Accepted: no --format, or a run of task classification. "
                f"Received: --format {', '.join(config.format)}"
            )
        self.texts = load_pairs(run)

    def save(self, classifier: Classifier, target: Path) -> int:
        """Write the SavedModel, and return the bytes that its weights take."""
        return save_answerer(classifier.encoder, classifier.head, classifier.network, target)

    def expected(self, classifier: Classifier) -> list[Expected]:
        """Return what an evaluation of the Keras model says, as text, places and scores.

        Of questions with two answers that are as good as each other, the scores alone.
        """
        def encode(pairs: Sequence[tuple[str, str]]) -> np.ndarray:
            # in float32, where encoding in bulk rounds vectors to float16
            vectors: np.ndarray = classifier.encoder(as_inputs(pairs)).numpy()
            return vectors

        found = []
        several = 1 + classifier.head.span.n_best
        for pairs in _parts([*self.texts[:_VERIFIED_PAIRS], *HARD_PAIRS]):
            answers = answers_to(classifier, pairs, encode)
            outputs = _outputs(answers, several)
            scores = {"scores": outputs["scores"]}
            found.append(Expected(N_BEST, pairs, scores, ties=_TIES))
            clear = [row for row, each in enumerate(answers) if _decided(each, classifier.head)]
            if clear:
                chosen = [pairs[row] for row in clear]
                outputs = {name: values[clear] for name, values in outputs.items()}
                # answers -> answer
                best = {name[:-1]: values[:, 0] for name, values in outputs.items()}
                found.append(Expected(N_BEST, chosen, outputs))
                found.append(Expected(DEFAULT_SIGNATURE, chosen, best))
        return found

    def facts(self, described: Mapping[str, Any]) -> dict[str, Any]:
        """Return from where on there is no answer, None where each question gets one."""
        return {"no_answer": described["no_answer"]}

    @staticmethod
    def table(metrics: Mapping[str, Any]) -> Table:
        """Return what was measured on the test questions."""
        test = metrics["test"]
        table = Table()
        table.add_column("what")
        table.add_column("test", justify="right")
        table.add_row("questions", f"{test['n']:,}")
        table.add_row("exact match", f"{test['exact_match']:.4f}")
        table.add_row("F1", f"{test['f1']:.4f}")
        if "without_answer" in test:
            right = test["without_answer"]["accuracy"]
            table.add_row("right not to answer", f"{right:.4f}")
        return table


def _outputs(answers: Sequence[Sequence[Answer]], count: int) -> dict[str, np.ndarray]:
    """Return what `n_best` should give, each [B, count]."""
    missing = Answer("", -1, -1, 0.0, 0.0)
    rows = [[*several, *[missing] * (count - len(several))] for several in answers]
    return {
        "answers": np.array([[one.text for one in row] for row in rows], object),
        "scores": np.array([[one.score for one in row] for row in rows], np.float32),
        "starts": np.array([[one.start for one in row] for row in rows], np.int32),
        "ends": np.array([[one.end for one in row] for row in rows], np.int32),
    }


def _decided(answers: Sequence[Answer], head: Any) -> bool:
    """Return whether no two answers, nor an answer and none, are as good as each other."""
    texts = np.array([one.score for one in answers if one.text])
    if head.no_answer is not None and abs(answers[0].no_answer - head.no_answer) < _MARGIN:
        return False
    with np.errstate(divide="ignore", invalid="ignore"):  # a score may be 0 in float32
        return bool(np.all(np.diff(np.log(texts)) < -_MARGIN))


def _parts(pairs: Sequence[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Yield pairs in batches, of like length so that one does not widen the others."""
    ordered = iter(sorted(pairs, key=lambda pair: len(pair[1])))
    while part := list(itertools.islice(ordered, _AT_ONCE)):
        yield part
