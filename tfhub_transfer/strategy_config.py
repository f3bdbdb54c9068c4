"""The settings of single strategies, and defaults that differ between them; part of `config`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tfhub_transfer.checks import at_least, within
from tfhub_transfer.errors import ConfigError

__all__ = [
    "EPOCHS",
    "LEARNING_RATES",
    "RELATIVE_RATE",
    "TRANSFORMER_RATE",
    "AdaptationConfig",
    "ContrastiveConfig",
    "DistillationConfig",
]

# Of a transformer's weights, and of a text embedding's as a share of their root mean square: some
# have vectors thirty times as long as others, and Adam's steps are as long as the rate, whatever
# they change. The share is Adafactor's (arXiv 1804.04235, section 8).
TRANSFORMER_RATE, RELATIVE_RATE = 5e-5, 0.01
# Of all other weights. With `contrastive` they are by default a linear head on vectors of length 1,
# whose weights have a long way to go.
LEARNING_RATES = dict.fromkeys(("feature_extraction", "fine_tuning", "distillation"), 1e-3)
LEARNING_RATES |= {"dann": 1e-3, "coral": 1e-3, "contrastive": 1e-2}

# Passes over the training rows, where none are given: a head alone takes many short ones.
EPOCHS = {"feature_extraction": 40, "fine_tuning": 4, "contrastive": 40, "distillation": 4}
EPOCHS |= {"dann": 40, "coral": 40}  # where the encoder stays frozen; else as with fine_tuning


@dataclass(frozen=True)
class ContrastiveConfig:
    """With strategy `contrastive`: how few labels move the encoder before the head is fitted.

    The encoder's rate is `training.encoder_learning_rate`; the validation rows choose nothing.

    Attributes:
        steps: optimizer steps; when not given, 25 times as many as each class needs for its turn
            in a batch.
        batch_size: texts per step at most, divided evenly among its classes; when not given, two
            for each class there is, but 32 at least and 160 at most.
        temperature: of the softmax over a batch's pairs (arXiv 2004.11362); 0.8 over the number of
            classes, but 0.1 at least, when not given.
        regression: weight of SetFit's loss, the squared distance of cosines from 1 within a class
            and 0 across, beside that of the softmax; 20 over the number of classes when not given.
    """

    steps: int | None = None
    batch_size: int | None = None
    temperature: float | None = None
    regression: float | None = None

    def __post_init__(self) -> None:
        at_least("contrastive.steps", self.steps, 1)
        at_least("contrastive.batch_size", self.batch_size, 4)
        at_least("contrastive.regression", self.regression, 0.0)
        if self.temperature is not None:
            within("contrastive.temperature", self.temperature, 1e-3, 100.0)


@dataclass(frozen=True)
class DistillationConfig:
    """With strategy `distillation`: what the student learns from (arXiv 1503.02531).

    Attributes:
        teacher: the directory of a finished run with the same labels.
        temperature: of both softmaxes in the softened loss.
        weight: of the softened loss; the ground truth's is the rest.
        student: `fine_tuning` or `feature_extraction`.
        unlabelled: texts from which the student learns what the teacher says: a file of lines
            (.txt) or with a text column (.csv, .tsv, .jsonl), or `tfds:NAME:SPLIT`.
        vectors: the weight of the distance to the teacher's vectors, which are all that is aimed
            at in a first epoch, and a further target in the others; with `fine_tuning`.
        precision: of the teacher's matrix products; its run's `encoder.precision` when not given.
            Of a large teacher bfloat16 halves the time to ask it.
    """

    teacher: str | None = None
    temperature: float = 2.0
    weight: float = 0.9
    student: Literal["fine_tuning", "feature_extraction"] = "fine_tuning"
    unlabelled: str | None = None
    vectors: float = 0.0
    precision: Literal["float32", "bfloat16"] | None = None

    def __post_init__(self) -> None:
        within("distillation.temperature", self.temperature, 0.1, 100.0)
        within("distillation.weight", self.weight, 0.0, 1.0)
        at_least("distillation.vectors", self.vectors, 0)
        if self.unlabelled is not None and self.weight == 0:
            raise ConfigError(
                "distillation.weight must be above 0 for unlabelled text to teach anything. "
                "Received: 0"
            )
        if self.vectors and self.student != "fine_tuning":
            raise ConfigError(
                f"distillation.vectors moves the student's encoder: it takes distillation.student "
                f"fine_tuning. Received: {self.student!r}"
            )


@dataclass(frozen=True)
class AdaptationConfig:
    """With strategies `dann` and `coral`: the domain that the model is to work on.

    Of whole texts, or with task tagging of words.

    Attributes:
        target: where its texts are, as `data.source` names it; their labels are only tested on. Or
            a file of lines (.txt), with task tagging of words between spaces.
        student: what moves: `feature_extraction`, the head's hidden layers (of words, also its
            LSTM), or `fine_tuning`, the encoder too.
        weight: of the domains' part of the loss, at its highest (lambda of arXiv 1505.07818).
        hidden: units of the domain classifier's one hidden layer, with `dann`.
        labels: a YAML file that maps the labels of source and target onto those that both have:
            `{source: {LABEL: COMMON}, target: {LABEL: COMMON}}`. With task tagging, types of
            entities; those that only one side has count as `O`.
    """

    target: str | None = None
    student: Literal["feature_extraction", "fine_tuning"] = "feature_extraction"
    weight: float = 1.0
    hidden: int = 100
    labels: str | None = None

    def __post_init__(self) -> None:
        at_least("adaptation.weight", self.weight, 0)
        at_least("adaptation.hidden", self.hidden, 1)
