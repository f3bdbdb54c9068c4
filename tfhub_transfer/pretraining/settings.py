"""The settings of every pre-training, and of word vectors, with their defaults."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from typing import Any

from tfhub_transfer.checks import at_least, within
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.pretraining.words import Normalization

__all__ = [
    "CorpusConfig",
    "NnlmConfig",
    "PretrainingConfig",
    "SwivelConfig",
    "WordVectorConfig",
    "memory_bytes",
]

_UNITS = {"M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_LEAST_BYTES = 64 << 20


def memory_bytes(text: str) -> int:
    """Return how many bytes `2G` or `500M` are; the units are powers of 1024.

    Raises:
        ConfigError: it is no such text, or too little to work with.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([MGT])", text.strip(), re.ASCII)
    size = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if size < _LEAST_BYTES:
        raise ConfigError(
            f"memory must be a number and a unit (M, G or T), such as 500M or 2G, and at least "
            f"{_LEAST_BYTES >> 20}M. Received: {text!r}"
        )
    return size


@dataclass(frozen=True)
class CorpusConfig:
    """How the sources of a corpus are read.

    Attributes:
        dir: where prepared TFDS data sets are (TFDS' own default when not given).
        text_column: the key, or TFDS feature, that holds the text.
    """

    dir: str | None = None
    text_column: str = "text"


@dataclass(frozen=True)
class PretrainingConfig:
    """What every pre-training may be told.

    Attributes:
        corpus: where the text comes from, several parted by commas: a text file (.txt) in which
            each line is a text, a JSONL file, either of them maybe compressed, a folder of such
            files, or `tfds:NAME[/CONFIG]:SPLIT`.
        run: the run directory; a new one under `runs/`, named by date and time, when not given.
        resume: continue the run in that directory where it was when it ended or was killed.
        overwrite: empty a run directory that is already there.
        keep_work: leave what was only made on the way, as counts and shards, in `work/`.
        seed: of every random choice; two runs with one seed on one machine are equal.
        memory: about how much the work on the corpus may hold at a time, as 500M or 2G, beside
            TensorFlow and the weights themselves; what is more goes to disk.
        data: how the sources of the corpus are read.
    """

    corpus: tuple[str, ...] = ()
    run: str | None = None
    resume: bool = False
    overwrite: bool = False
    keep_work: bool = False
    seed: int = 0
    memory: str = "2G"
    data: CorpusConfig = field(default_factory=CorpusConfig)

    def __post_init__(self) -> None:
        if not self.corpus:
            raise ConfigError(
                "A pre-training needs text: add --corpus FILE.txt, FILE.jsonl, a folder of those, "
                "or tfds:NAME:SPLIT. Received: none"
            )
        if self.resume and self.overwrite:
            raise ConfigError("--resume continues a run and --overwrite empties it: give one.")
        if self.resume and not self.run:
            raise ConfigError("--resume needs the run directory to continue: add --run DIR.")
        within("seed", self.seed, 0, 2**32 - 1)
        memory_bytes(self.memory)

    @property
    def memory_bytes(self) -> int:
        """The bytes that `memory` stands for."""
        return memory_bytes(self.memory)

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists and scalars, as YAML and JSON hold them."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain


@dataclass(frozen=True)
class WordVectorConfig(PretrainingConfig):
    """What every pre-training of word vectors may be told.

    Attributes:
        dimensions: D, the size of a vector.
        vocabulary: so many words, the most frequent ones, have a vector of their own.
        min_count: words that are rarer have none.
        oov_buckets: vectors that all other words share, by their hash.
        normalization: of the text, before it is split at white space: `none`; `punctuation` takes
            away punctuation and symbols; `lower_case` lower-cases as well.
    """

    dimensions: int = 128
    vocabulary: int = 40_000
    min_count: int = 5
    oov_buckets: int = 1
    normalization: Normalization = "lower_case"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("dimensions", self.dimensions, 1)
        at_least("vocabulary", self.vocabulary, 1)
        at_least("min_count", self.min_count, 1)
        at_least("oov_buckets", self.oov_buckets, 1)


@dataclass(frozen=True)
class SwivelConfig(WordVectorConfig):
    """Swivel (arXiv 1602.02215).

    Attributes:
        window: words on each side that count as neighbours of a word.
        shard: rows and columns, at most, of the submatrix that a step takes. With smaller ones an
            epoch has more steps, and fewer epochs are needed.
        epochs: passes over all shards.
        learning_rate: of Adagrad, whose steps become smaller by themselves.
        confidence_base: weight of an observed pair however rare.
        confidence_scale: weight that its count adds, after `confidence_exponent`.
        confidence_exponent: below 1, lest the most frequent pairs be all that counts.
        train_biases: move the biases too, which otherwise are the logarithms of the marginals.
        checkpoint_seconds: from one writing of the training's state to the next.
    """

    window: int = 10
    shard: int = 1024
    epochs: int = 5
    learning_rate: float = 0.1
    confidence_base: float = 0.1
    confidence_scale: float = 0.25
    confidence_exponent: float = 0.5
    train_biases: bool = False
    checkpoint_seconds: float = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("window", self.window, 1)
        # cells are numbered by 32 bits
        within("shard", self.shard, 1, 32768)
        at_least("epochs", self.epochs, 1)
        within("learning_rate", self.learning_rate, 1e-9, 100.0)
        at_least("confidence_base", self.confidence_base, 0.0)
        at_least("confidence_scale", self.confidence_scale, 0.0)
        within("confidence_exponent", self.confidence_exponent, 0.0, 1.0)
        at_least("checkpoint_seconds", self.checkpoint_seconds, 0)


@dataclass(frozen=True)
class NnlmConfig(WordVectorConfig):
    """The feed-forward language model of Bengio et al. (JMLR 2003).

    Attributes:
        context: words before the one to predict.
        hidden: units of the hidden layer.
        sampled: classes that each step compares the right ones with.
        batch_size: words to predict in a step.
        epochs: passes over the corpus.
        learning_rate: of Adagrad, in the first step; it falls to zero.
        direct: join the vectors of the words before to the scores of the next word directly too,
            by the matrix W of the paper's equation 1.
        validation_words: about so many are held out, in whole texts, to measure the perplexity.
        checkpoint_seconds: from one writing of the training's state to the next.
    """

    context: int = 4
    hidden: int = 128
    sampled: int = 1024
    batch_size: int = 1024
    epochs: int = 3
    learning_rate: float = 0.1
    direct: bool = False
    validation_words: int = 20_000
    checkpoint_seconds: float = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("context", self.context, 1)
        at_least("hidden", self.hidden, 1)
        at_least("sampled", self.sampled, 1)
        at_least("batch_size", self.batch_size, 1)
        at_least("epochs", self.epochs, 1)
        within("learning_rate", self.learning_rate, 1e-9, 100.0)
        at_least("validation_words", self.validation_words, 1)
        at_least("checkpoint_seconds", self.checkpoint_seconds, 0)
