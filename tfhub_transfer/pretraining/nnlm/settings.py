"""The settings of the feed-forward language model and their defaults."""

from __future__ import annotations

from dataclasses import dataclass

from tfhub_transfer.checks import at_least, within
from tfhub_transfer.pretraining.settings import WordVectorConfig

__all__ = ["NnlmConfig"]


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
        validation_words: so many at most measure the perplexity; whole texts are held out for it.
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
