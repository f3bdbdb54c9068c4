"""The settings of masked language modelling and their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tfhub_transfer.checks import at_least, within
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.pretraining.settings import PretrainingConfig

__all__ = ["MlmConfig"]

# five special ones, and a few to write words with
_LEAST_PIECES = 16


@dataclass(frozen=True)
class MlmConfig(PretrainingConfig):
    """Masked language modelling (BERT, arXiv 1810.04805).

    Attributes:
        continue_from: go on with this encoder, a name, handle or path, rather than from scratch.
        offline: never open a socket for that encoder; what is not on this machine is an error.
        vocabulary: word pieces, learnt from the corpus; this and the shape are of an encoder from
            scratch.
        lower_case: whether the vocabulary is of words in lower case without accents.
        layers: of the transformer.
        width: D, of a token's vector.
        heads: of the attention; they divide the width.
        intermediate: width within the feed-forward layers.
        positions: tokens of a text that the encoder can take.
        dropout: the share of values dropped in training.
        max_tokens: of a row in training, special ones included; longer texts become several rows.
            When not given, all positions from scratch, and 128 at most to continue.
        mask_share: of the word pieces, those to guess.
        whole_words: mask all pieces of a word or none.
        next_sentence: train on pairs, the second half of which is the text that follows or another
            one, and on telling which; this also trains the pooler.
        batch_size: rows of a step.
        epochs: passes over the corpus, each with other masks.
        steps: to take, whatever `epochs` says; with 0 the encoder is written as it began.
        learning_rate: of AdamW for the encoder; 5e-5 to continue and 5e-4 from scratch when not
            given.
        head_learning_rate: of what guesses, which is always from scratch; 1e-3 to continue, and as
            the encoder's from scratch, when not given.
        warmup: the share of the steps in which the rates rise; then they fall along a line.
        weight_decay: decoupled (arXiv 1711.05101); biases and norms are spared.
        clip_norm: gradients are scaled down to this norm, taken over all weights.
        precision: of the matrix products; bfloat16 is faster where the processor has it. Weights
            stay float32.
        validation: rows at most that are held out, whole texts, and at most a tenth of all.
        evaluations: of the held-out rows, evenly spread over the training, besides that before it.
        checkpoint_seconds: between two checkpoints.
    """

    continue_from: str | None = None
    offline: bool = False
    vocabulary: int = 8_000
    lower_case: bool = True
    layers: int = 4
    width: int = 256
    heads: int = 4
    intermediate: int = 1024
    positions: int = 128
    dropout: float = 0.1
    max_tokens: int | None = None
    mask_share: float = 0.15
    whole_words: bool = True
    next_sentence: bool = False
    batch_size: int = 32
    epochs: int = 1
    steps: int | None = None
    learning_rate: float | None = None
    head_learning_rate: float | None = None
    warmup: float = 0.06
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    precision: Literal["float32", "bfloat16"] = "float32"
    validation: int = 256
    evaluations: int = 10
    checkpoint_seconds: float = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("layers", "width", "heads", "intermediate", "batch_size",
                     "epochs", "validation", "evaluations"):
            at_least(name, getattr(self, name), 1)
        at_least("vocabulary", self.vocabulary, _LEAST_PIECES)
        at_least("positions", self.positions, 8)
        at_least("steps", self.steps, 0)
        at_least("max_tokens", self.max_tokens, 8)
        within("dropout", self.dropout, 0.0, 0.9)
        within("mask_share", self.mask_share, 0.01, 0.9)
        for name in ("learning_rate", "head_learning_rate"):
            if (rate := getattr(self, name)) is not None:
                within(name, rate, 1e-9, 100.0)
        within("warmup", self.warmup, 0.0, 1.0)
        within("weight_decay", self.weight_decay, 0.0, 10.0)
        within("clip_norm", self.clip_norm, 1e-9, 1e9)
        at_least("checkpoint_seconds", self.checkpoint_seconds, 0)
        if self.continue_from is None:
            self._check_shape()
        else:
            self._check_continued()

    def _check_shape(self) -> None:
        if self.width % self.heads:
            raise ConfigError(
                f"width must be a multiple of heads. Received: {self.width} and {self.heads}"
            )
        if (self.max_tokens or 0) > self.positions:
            raise ConfigError(
                f"max_tokens must be at most positions, {self.positions}. "
                f"Received: {self.max_tokens}"
            )

    def _check_continued(self) -> None:
        fields = type(self).__dataclass_fields__
        shape = ("vocabulary", "lower_case", "layers", "width", "heads", "intermediate",
                 "positions", "dropout")
        given = [name for name in shape if getattr(self, name) != fields[name].default]
        if given:
            listed = ", ".join(f"--{name} {getattr(self, name)}" for name in given)
            raise ConfigError(
                f"--from continues an encoder that has its shape and its vocabulary: leave out "
                f"what is for one from scratch. Received: {listed}"
            )
