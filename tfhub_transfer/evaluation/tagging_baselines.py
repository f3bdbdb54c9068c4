"""What a tagger has to beat: taggers without any encoder, fitted on the same sentences.

All of them leave intents alone; those are a matter of the classification baselines.
"""

from __future__ import annotations

import collections
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfhub_transfer.config import Config
from tfhub_transfer.data.examples import Dataset
from tfhub_transfer.data.schemes import OUTSIDE
from tfhub_transfer.data.tagged_examples import TaggedDataset, TaggedExamples
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.evaluation.entities import entity_metrics
from tfhub_transfer.evaluation.word_features import shape, word_features
from tfhub_transfer.progress import progress

__all__ = ["TaggingBaseline", "crf_features", "frequent_tag", "hmm"]

Sentences = list[list[str]]
Tagger = Callable[[list[str]], list[str]]
"""Words of a sentence -> their tags."""
Fit = Callable[[Sentences, Sentences], Tagger]
"""(words, tags) of the training sentences -> a tagger."""

# Lidstone's gamma: with 1, 0.1 and 0.01, F1 was 0.748, 0.793 and 0.797 on CoNLL-2003's validation
# rows. Words this rare stand for unknown ones; without, it was 0.750 there.
_GAMMA = 0.01
_RARE = 1
_SENTENCES_AT_ONCE = 256
_ITERATIONS = 100
# L1 and L2 factors.
_PENALTIES = {"c1": 0.1, "c2": 0.01}


@dataclass(frozen=True)
class TaggingBaseline:
    """A tagger, fitted on training sentences and measured on test sentences when called.

    Attributes:
        name: as `evaluation.baselines` knows it.
        fit: returns the fitted tagger.
    """

    name: str
    fit: Fit

    def __call__(
        self,
        train: TaggedExamples,
        test: TaggedExamples,
        data: TaggedDataset,
        *,
        seed: int = 0,
        bootstrap: int = 1000,
    ) -> dict[str, Any]:
        """Fit, predict and measure.

        Args:
            train: the sentences to fit on.
            test: those to predict.
            data: names their tags.
            seed: of the bootstrap; no tagger here makes a random choice.
            bootstrap: resamples of the test sentences behind each interval.

        Returns:
            What `entity_metrics` says as a whole; `n_train`; and in seconds `fit_s`, `predict_s`.
        """
        began = time.perf_counter()
        tag = self.fit(train.words(), train.tags.named(data.all_tags))
        fitted = time.perf_counter()
        words = test.words()
        predicted = []
        with progress(f"Tagging with {self.name}", "sentences", len(words)) as advance:
            for start in range(0, len(words), _SENTENCES_AT_ONCE):
                chunk = words[start : start + _SENTENCES_AT_ONCE]
                predicted += map(tag, chunk)
                advance(len(chunk))
        ended = time.perf_counter()
        metrics = entity_metrics(
            test.tags.named(data.all_tags), predicted, bootstrap=bootstrap, seed=seed
        )
        del metrics["per_type"]
        return metrics | {
            "n_train": len(train),
            "fit_s": fitted - began,
            "predict_s": ended - fitted,
        }


def frequent_tag(words: Sentences, tags: Sentences) -> Tagger:
    """Tag each word as training rows do most often, and words that they do not have as `O`.

    A word by word tagger leaves `I-` with nothing before them, which are read as new entities.
    """
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for sentence, labels in zip(words, tags, strict=True):
        for word, label in zip(sentence, labels, strict=True):
            counts[word][label] += 1
    best = {word: counter.most_common(1)[0][0] for word, counter in counts.items()}
    return lambda sentence: [best.get(word, OUTSIDE) for word in sentence]


def hmm(words: Sentences, tags: Sentences) -> Tagger:
    """Tag by a hidden Markov model of first order with Lidstone smoothing, by nltk.

    Words that training rows have once stand for all unknown ones of their shape (Bikel et al. 1999,
    "An Algorithm that Learns What's in a Name", section 2.3): else an unknown word would count for
    the rarest tags.
    """
    from nltk.probability import LidstoneProbDist
    from nltk.tag.hmm import HiddenMarkovModelTrainer

    counts = collections.Counter(word for sentence in words for word in sentence)

    def symbol(word: str) -> str:
        # no word has a space in it, and so none can be mistaken for a shape
        return word if counts[word] > _RARE else f" {shape(word)}"

    def estimator(frequencies: Any, bins: int) -> LidstoneProbDist:
        return LidstoneProbDist(frequencies, _GAMMA, bins + 1)  # and what was never seen

    rows = [
        [(symbol(word), label) for word, label in zip(sentence, labels, strict=True)]
        for sentence, labels in zip(words, tags, strict=True)
    ]
    symbols = collections.Counter(symbol for row in rows for symbol, _ in row)
    # nltk looks for each word in a list of them: frequent ones stand in front
    trainer = HiddenMarkovModelTrainer(symbols=[symbol for symbol, _ in symbols.most_common()])
    model = trainer.train_supervised(rows, estimator=estimator)
    return lambda sentence: model.best_path([symbol(word) for word in sentence])


def crf_features(words: Sentences, tags: Sentences) -> Tagger:
    """Tag by a linear-chain CRF on shapes, affixes and neighbours of words, by CRFsuite.

    Lafferty et al. 2001; at most 100 steps of L-BFGS with elastic-net regularisation.
    """
    import pycrfsuite

    class Trainer(pycrfsuite.Trainer):
        def message(self, message: str) -> None:
            if self.logparser.feed(message) == "iteration":
                advance(1)

    trainer = Trainer(algorithm="lbfgs", verbose=False, params={**_PENALTIES})
    trainer.set_params({"max_iterations": _ITERATIONS})
    with progress("Reading features for crf_features", "sentences", len(words)) as advance_reading:
        for sentence, labels in zip(words, tags, strict=True):
            trainer.append(pycrfsuite.ItemSequence(word_features(sentence)), labels)
            advance_reading(1)
    with tempfile.TemporaryDirectory(prefix="tfhub_transfer-") as folder:
        file = Path(folder) / "model"
        with progress("Fitting crf_features", "steps", _ITERATIONS) as advance:
            trainer.train(str(file))
        tagger = pycrfsuite.Tagger()
        tagger.open(str(file))  # reads it whole; `open_inmemory` would not keep the bytes alive
    return lambda sentence: tagger.tag(pycrfsuite.ItemSequence(word_features(sentence)))


def make_frequent_tag(config: Config, data: Dataset) -> TaggingBaseline:
    """Return the tagger that knows each word's most frequent tag."""
    return _ready("frequent_tag", frequent_tag, None, config, data)


def make_hmm(config: Config, data: Dataset) -> TaggingBaseline:
    """Return the hidden Markov model.

    Raises:
        ConfigError: nltk is not installed, or the data have no tags.
    """
    return _ready("hmm", hmm, "nltk", config, data)


def make_crf_features(config: Config, data: Dataset) -> TaggingBaseline:
    """Return the CRF on features of words.

    Raises:
        ConfigError: python-crfsuite is not installed, or the data have no tags.
    """
    return _ready("crf_features", crf_features, "pycrfsuite", config, data)


def _ready(
    name: str, fit: Fit, needs: str | None, config: Config, data: Dataset
) -> TaggingBaseline:
    """Return a baseline, or say now what it would fail with after the training."""
    del config
    if not isinstance(data, TaggedDataset):
        raise ConfigError(
            f"The baseline {name} tags words, and these data have one label per text: leave it out "
            f"of evaluation.baselines, or give --task tagging. Received: {data.name}"
        )
    if needs is not None:
        _import(name, needs)
    return TaggingBaseline(name, fit)


def _import(name: str, module: str) -> None:
    import importlib

    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"The baseline {name} needs {module}: pip install 'tfhub-transfer[tagging]' "
            f"({error}). Received: evaluation.baselines with {name}"
        ) from error
