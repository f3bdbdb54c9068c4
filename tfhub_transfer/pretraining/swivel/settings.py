"""The settings of swivel and their defaults."""

from __future__ import annotations

from dataclasses import dataclass

from tfhub_transfer.checks import at_least, within
from tfhub_transfer.pretraining.settings import WordVectorConfig

__all__ = ["SwivelConfig"]


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
