"""What every pre-training may be told, and every one of word vectors, with the defaults."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from typing import Any

from tfhub_transfer.checks import at_least, within
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.pretraining.words.splitting import Normalization

__all__ = [
    "CorpusConfig",
    "PretrainingConfig",
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
