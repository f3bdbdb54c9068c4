"""Tags of words, in an experiment."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.label_map import read_type_map
from tfhub_transfer.data.tagged import LabelledSentences, load_labelled, load_tagged
from tfhub_transfer.data.tagged_examples import TaggedDataset
from tfhub_transfer.data.word_chunks import word_chunks
from tfhub_transfer.evaluation.baselines import baseline_rows
from tfhub_transfer.evaluation.bootstrap import Statistic, bootstrap_intervals
from tfhub_transfer.evaluation.entities import entity_metrics
from tfhub_transfer.evaluation.page import Page
from tfhub_transfer.evaluation.tagging_baselines import TaggingBaseline
from tfhub_transfer.evaluation.tagging_report import tagging_table, worst_sentences, write_report
from tfhub_transfer.evaluation.task import Encode, Task
from tfhub_transfer.progress import progress
from tfhub_transfer.runs import Run
from tfhub_transfer.training.classifier import Classifier

__all__ = ["Tagging"]

Answers = list[dict[str, Any]]

_LOOKED_AT = 1_000
# Thai, Lao, Khmer, Japanese and Chinese.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")


class Tagging(Task):
    """A tag for each word; answers are what `TaggingHead.decode` says of each sentence."""

    def load(self, rejected: Path | None = None) -> TaggedDataset:
        """Return the data set that the configuration names."""
        config, labels = self.config, self.config.adaptation.labels
        data = load_tagged(
            config.data,
            scheme=config.tagging.scheme,
            seed=config.seed,
            rejected=rejected,
            types=read_type_map(labels, "source") if labels is not None else None,
        )
        texts = data.train.texts(np.arange(min(_LOOKED_AT, len(data.train))))
        if 2 * sum(map(bool, map(_UNSPACED.search, texts))) < len(texts):
            return data
        note = (
            "Most sentences are in a script that puts no spaces between words. Raw text, which "
            "predict and an exported model's first signature take, is parted at spaces and marks "
            "alone: ask with the signature `words`, whose words are parted as the data's are."
        )
        return dataclasses.replace(data, notes=(*data.notes, note))

    def load_other(
        self, data: DataConfig, classifier: Classifier, rejected: Path
    ) -> LabelledSentences:
        """Return sentences of another data set, under the tags of a trained model.

        Where the run has a map of types, they are mapped as its target's, or else as its source's,
        if that names them all.
        """
        head, file = classifier.head, self.config.adaptation.labels
        load = functools.partial(
            load_labelled,
            data,
            labels=head.labels,
            intents=head.intents,
            scheme=self.config.tagging.scheme,
            seed=self.config.seed,
            rejected=rejected,
        )
        rows: LabelledSentences = load()
        present = np.unique(rows.examples.tags.values)
        types = {rows.all_tags[tag][2:] for tag in present} - {""}
        for side in ("target", "source") if file is not None else ():
            names = read_type_map(file, side)
            if names is not None and types <= names.keys():
                rows = load(types=names)
                note = f"Types of entities are mapped as {file} maps those of the {side}."
                return dataclasses.replace(rows, notes=(*rows.notes, note))
        return rows

    def rows(self, data: TaggedDataset, split: str) -> LabelledSentences:
        """Return a split of the run's own data set."""
        examples = getattr(data, split)
        return LabelledSentences(
            data.name, examples, data.all_tags, data.all_intents, data.notes, {}
        )

    def fit_baselines(
        self, baselines: Mapping[str, TaggingBaseline], data: TaggedDataset
    ) -> tuple[dict[str, Any], Sequence[str]]:
        """Return the measures of each, fitted on the same training sentences."""
        if not baselines:
            return {}, ()
        train, notes = baseline_rows(self.config, data, "sentences")
        settings = {"seed": self.config.seed, "bootstrap": self.config.evaluation.bootstrap}
        fitted = {
            name: baseline(train, data.test, data, **settings)
            for name, baseline in baselines.items()
        }
        return fitted, notes

    def answer(
        self, classifier: Classifier, rows: LabelledSentences, encode: Encode | None = None
    ) -> Answers:
        """Return tags, scores and entities of each sentence, and its intent if there are any."""
        examples = rows.examples
        lengths = examples.tags.lengths
        answers: Answers = [{} for _ in lengths]
        with progress("Predicting", "sentences", len(examples)) as advance:
            for chunk in word_chunks(lengths):
                (outputs,) = classifier.predict([examples.texts(chunk)], encode)
                decoded = classifier.head.decode(outputs, lengths[chunk])
                for row, answer in zip(chunk.tolist(), decoded, strict=True):
                    answers[row] = answer
                advance(len(chunk))
        return answers

    def measure(
        self,
        classifier: Classifier,
        rows: LabelledSentences,
        answers: Answers,
        *,
        bootstrap: int,
    ) -> dict[str, Any]:
        """Return the measures of entities, and of intents where there are any."""
        seed, truth = self.config.seed, rows.examples.tags.named(rows.all_tags)
        found = [answer["tags"] for answer in answers]
        metrics = entity_metrics(truth, found, bootstrap=bootstrap, seed=seed)
        whole = np.array([t == f for t, f in zip(truth, found, strict=True)], np.float64)
        statistics: dict[str, Statistic] = {}
        if classifier.head.intents:
            names = [rows.all_intents[label] for label in rows.examples.labels.tolist()]
            told = [answer["intent"] for answer in answers]
            intents = np.array([t == f for t, f in zip(names, told, strict=True)], np.float64)
            whole *= intents
            statistics["intent_accuracy"] = _share_of(intents)
        statistics["sentence_accuracy"] = _share_of(whole)
        once = np.ones(len(whole))
        metrics |= {name: statistic(once) for name, statistic in statistics.items()}
        metrics["ci95"] |= bootstrap_intervals(
            statistics, len(whole), resamples=bootstrap, seed=seed
        )
        return metrics

    def counts(self, data: TaggedDataset, split: Mapping[str, Any]) -> dict[str, int]:
        """Return how many entities of each type stand in a split."""
        entities: dict[str, int] = split["entities"]
        return entities

    def write_report(
        self,
        run: Run,
        page: Page,
        classifier: Classifier,
        rows: LabelledSentences,
        answers: Answers,
    ) -> None:
        """Write `report.html` and its figures."""
        write_report(run, dataclasses.replace(page, mistakes=worst_sentences(rows, answers)))

    @staticmethod
    def table(metrics: Mapping[str, Any]) -> Table:
        """Return the terminal's form of what `metrics.json` holds."""
        return tagging_table(metrics)


def _share_of(right: np.ndarray) -> Statistic:
    return lambda weights: float(np.average(right, weights=weights))
