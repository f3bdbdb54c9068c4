"""What a trained model says of new texts, as `predict` writes it, for each task."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfhub_transfer.data.word_chunks import word_chunks
from tfhub_transfer.evaluation.located import Answer, answers_to, words_about
from tfhub_transfer.heads.raw_words import raw_words
from tfhub_transfer.training.classifier import Classifier

__all__ = ["AnswerLabeller", "TextLabeller", "WordLabeller"]


class TextLabeller:
    """Labels of whole texts.

    Args:
        classifier: a trained one.
    """

    def __init__(self, classifier: Classifier):
        self._classifier = classifier

    def __call__(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Return `label`, `score` and `probabilities` of each text."""
        (probabilities,) = self._classifier.predict([texts])
        answers: list[dict[str, Any]] = self._classifier.head.decode(probabilities)
        return answers

    @staticmethod
    def cells(answer: Mapping[str, Any]) -> dict[str, str]:
        """Return an answer's columns in a CSV file: `label`, several joined by `|`, and `score`."""
        label = answer["label"]
        label = "|".join(label) if isinstance(label, list) else label
        return {"label": label, "score": f"{answer['score']:.6f}"}


class WordLabeller:
    """Tags of words, and the entities that they make up.

    Args:
        classifier: a trained one of task `tagging`.
    """

    def __init__(self, classifier: Classifier):
        self._classifier = classifier

    def __call__(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Return what the tagger says of raw texts, their words parted as the artifact parts them.

        Returns:
            For each text `words`, `tags` and `scores`; `entities`, each with `type`, `text`, its
            places `start` and `end` in the text, and the mean `score` of its words' tags; and
            with intents `intent`, `intent_score` and every intent's probability in `intents`.
        """
        found, read = raw_words(tf.constant(texts, tf.string))
        lengths, parted = found.words.row_lengths().numpy(), read.numpy()
        words, starts, ends = (part.to_list() for part in found)
        answers: list[dict[str, Any]] = [{} for _ in texts]
        for chunk in word_chunks(lengths):
            (outputs,) = self._classifier.predict([[parted[row].decode() for row in chunk]])
            decoded = self._classifier.head.decode(outputs, lengths[chunk])
            for row, answer in zip(chunk.tolist(), decoded, strict=True):
                entities = [
                    _placed(entity, texts[row], starts[row], ends[row])
                    for entity in answer["entities"]
                ]
                said = {"words": [word.decode() for word in words[row]]}
                answers[row] = {**said, **answer, "entities": entities}
        return answers

    @staticmethod
    def cells(answer: Mapping[str, Any]) -> dict[str, str]:
        """Return an answer's columns in a CSV file: `entities` as JSON, and the intent if any."""
        cells = {"entities": json.dumps(answer["entities"], ensure_ascii=False)}
        if "intent" in answer:
            cells |= {"intent": answer["intent"], "intent_score": f"{answer['intent_score']:.6f}"}
        return cells


class AnswerLabeller:
    """Stretches of contexts that answer questions.

    Args:
        classifier: a trained one of task `span`.
    """

    def __init__(self, classifier: Classifier):
        self._classifier = classifier

    def __call__(
        self, questions: Sequence[str], contexts: Sequence[str]
    ) -> list[dict[str, Any]]:
        """Return what is answered to each question on its context.

        Returns:
            For each question `answer`, its `score`, and its places `start` and `end` in the
            context; no answer is an empty text, from -1 to -1. Under `n_best` the same and what
            else could be the answer, the likeliest first.
        """
        pairs = list(zip(questions, contexts, strict=True))
        answers: list[dict[str, Any]] = [{} for _ in pairs]
        for chunk in word_chunks(np.array([words_about(text) for text in contexts])):
            several = answers_to(self._classifier, [pairs[row] for row in chunk])
            for row, each in zip(chunk.tolist(), several, strict=True):
                told = [_told(one) for one in each]
                answers[row] = {**told[0], "n_best": told}
        return answers

    @staticmethod
    def cells(answer: Mapping[str, Any]) -> dict[str, str]:
        """Return an answer's columns in a CSV file: `answer`, `score`, `start` and `end`."""
        places = {name: str(answer[name]) for name in ("start", "end")}
        return {"answer": answer["answer"], "score": f"{answer['score']:.6f}", **places}


def _told(answer: Answer) -> dict[str, Any]:
    return {
        "answer": answer.text,
        "score": round(answer.score, 6),
        "start": answer.start,
        "end": answer.end,
    }


def _placed(
    entity: Mapping[str, Any], text: str, starts: Sequence[int], ends: Sequence[int]
) -> dict[str, Any]:
    start, end = starts[entity["first"]], ends[entity["last"]]
    return {
        "type": entity["type"],
        "text": text[start:end],
        "start": start,
        "end": end,
        "score": entity["score"],
    }
