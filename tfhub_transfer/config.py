"""Every setting and its default. Defaults live nowhere else.

The dataclasses are the configuration file's and the command line's single definition: a field
`head.dropout` is the flag `--head.dropout` and the YAML key `head: {dropout: ...}`. TensorFlow is
not imported here, so that `--help` and a wrong flag answer at once.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from tfhub_transfer.checks import at_least, check_together, regular_expression, within
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.registry import BASELINES, STRATEGIES, TASKS
from tfhub_transfer.strategy_config import (
    EPOCHS,
    LEARNING_RATES,
    AdaptationConfig,
    ContrastiveConfig,
    DistillationConfig,
)
from tfhub_transfer.task_config import HIDDEN, TASK_BASELINES, SpanConfig, TaggingConfig


@dataclass(frozen=True)
class DataConfig:
    """Where the examples come from and how they are split.

    Attributes:
        source: `sample`; `tfds:NAME[/CONFIG][:SPLIT]`; a CSV, TSV, JSONL or Parquet file; or a
            folder with train, validation and test files of those. With task `tagging` also a file
            of columns (`.conll`, `.bio`, `.iob`, `.iob2`, `.txt`), or a folder of seq.in, seq.out
            and label files, as ATIS has them.
        dir: where prepared TFDS data sets are (TFDS' own default when not given).
        text_column: the column, or TFDS feature, that holds the text; in a file of columns its
            number, from 0, or from the last with -1, or its name; the first by default.
        label_column: the column, or TFDS feature, that holds the label; in a file of columns the
            last by default.
        label_separator: splits a label cell into several labels (multi-label), as `|` in
            `news|sport`. List-valued columns are multi-label without it.
        scheme: of the tags in the source: `iob1`, `iob2` or `iobes`; seen from the tags
            themselves when `auto`.
        validation_fraction: the share of the training rows held out, stratified, where the
            source brings no validation split.
        test_fraction: the share held out for the test, stratified, where the source is one table.
        limit: at most this many rows of each split, drawn with the seed, stratified.
        shots: at most this many training rows of each class, drawn with the seed.
        balance: what is done about classes of unequal size in training.
        stages: growing shares of the training rows, up to all, as `[0.1, 0.3, 1]`; each stage
            trains on its rows, up to all of the epochs, from the weights of the one before.
        word_dropout: the share of words left out of each training text, anew in each epoch; for
            encoders that move, or with `encoder.cache` off.
        word_swap: the share of words that change places with a neighbour, likewise.
    """

    source: str = "sample"
    dir: str | None = None
    text_column: str = "text"
    label_column: str = "label"
    label_separator: str | None = None
    scheme: Literal["auto", "iob1", "iob2", "iobes"] = "auto"
    validation_fraction: float = 0.1
    test_fraction: float = 0.2
    limit: int | None = None
    shots: int | None = None
    balance: Literal["none", "class_weight", "oversample", "undersample"] = "none"
    stages: tuple[float, ...] = ()
    word_dropout: float = 0.0
    word_swap: float = 0.0

    def __post_init__(self) -> None:
        within("data.validation_fraction", self.validation_fraction, 0.0, 0.9)
        within("data.test_fraction", self.test_fraction, 0.0, 0.9)
        if self.label_separator == "":
            raise ConfigError("data.label_separator must not be empty. Received: ''")
        at_least("data.limit", self.limit, 1)
        at_least("data.shots", self.shots, 1)
        within("data.word_dropout", self.word_dropout, 0.0, 0.9)
        within("data.word_swap", self.word_swap, 0.0, 0.9)
        growing = all(a < b for a, b in itertools.pairwise((0.0, *self.stages)))
        if self.stages and not (growing and self.stages[-1] == 1.0):
            raise ConfigError(
                f"data.stages must be growing shares of the training rows, above 0, the last of "
                f"them 1, as [0.1, 0.3, 1]. Received: {list(self.stages)}"
            )


@dataclass(frozen=True)
class EncoderConfig:
    """Which pre-trained encoder turns text into vectors.

    Attributes:
        name: a name from `python -m tfhub_transfer.encoders list`, a TF Hub or Kaggle handle, any
            http(s) address of a SavedModel archive, or the path of a SavedModel.
        offline: never open a socket; what is not on this machine is an error.
        cache: encode each distinct text once and keep its vector on disk, where no encoder weight
            moves. Off, strings go through the encoder in every epoch.
        precision: of the matrix products in bulk encoding; bfloat16 is faster where the processor
            has it. The trained model stays float32.
        layers: of a transformer, use only this many of its first layers. The last of them is
            pooled as the encoder pools its own; by the mean, where that takes a pooler.
        max_tokens: of a transformer, read this many tokens of each text at most, special ones
            included; when not given, as many as its preprocessor takes (128 for TF Hub's).
        truncation: with `max_tokens`, what is left of a longer text: its `head`, its `tail`, or
            both `ends`, a quarter of the tokens from the head (arXiv 1905.05583).
        pooling: how the vectors of a transformer's tokens become one: `published` as the encoder
            does it itself; or, not normalised and without its pooler, the `mean` or the `max` over
            the tokens that are no padding, or the `first` token.
    """

    name: str = "minilm-static"
    offline: bool = False
    cache: bool = True
    precision: Literal["float32", "bfloat16"] = "float32"
    layers: int | None = None
    max_tokens: int | None = None
    truncation: Literal["head", "tail", "ends"] = "head"
    pooling: Literal["published", "mean", "max", "first"] = "published"

    def __post_init__(self) -> None:
        at_least("encoder.layers", self.layers, 1)
        at_least("encoder.max_tokens", self.max_tokens, 3)
        if self.truncation != "head" and self.max_tokens is None:
            raise ConfigError(
                f"encoder.truncation says what is left of a text of more than encoder.max_tokens: "
                f"give that too. Received: {self.truncation!r}"
            )


@dataclass(frozen=True)
class HeadConfig:
    """The layers trained on top of the encoder.

    Attributes:
        hidden: sizes of the dense layers between the vector and the output; none is a linear head.
            When not given, (1024,) for classification, but none with strategy `contrastive`; none
            for the other tasks.
        activation: of those layers, by its Keras name.
        dropout: the share of inputs dropped before each dense layer, the output's included.
        l2: the factor of the squared-weight penalty on each dense kernel.
        label_smoothing: the share of each target spread evenly over all classes.
        bottleneck: the size of a linear projection between the encoder and the other layers.
        loss: `focal` lowers the weight of examples that are classified well already.
        focal_gamma: how much it does so; 0 is cross-entropy.
    """

    hidden: tuple[int, ...] | None = None
    activation: str = "relu"
    dropout: float = 0.3
    l2: float = 0.0
    label_smoothing: float = 0.0
    bottleneck: int | None = None
    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    focal_gamma: float = 2.0

    def __post_init__(self) -> None:
        for units in self.hidden or ():
            at_least("head.hidden", units, 1)
        within("head.dropout", self.dropout, 0.0, 0.99)
        within("head.label_smoothing", self.label_smoothing, 0.0, 0.99)
        at_least("head.l2", self.l2, 0)
        at_least("head.bottleneck", self.bottleneck, 1)
        within("head.focal_gamma", self.focal_gamma, 0.0, 10.0)


@dataclass(frozen=True)
class WeightGroup:
    """Some of the encoder's weights, by their path, and how fast they move.

    Attributes:
        match: a regular expression, searched for in the path.
        rate: multiplies the encoder's learning rate; 0 holds the weights still.
    """

    match: str
    rate: float = 1.0

    def __post_init__(self) -> None:
        regular_expression("training.groups", self.match)
        within("training.groups' rate", self.rate, 0.0, 1e6)


@dataclass(frozen=True)
class TrainingConfig:
    """Which weights move, and how.

    Attributes:
        strategy: `feature_extraction` (the encoder stays frozen), `fine_tuning`, `contrastive`
            (few examples), `distillation` (learns from another run), `dann` or `coral` (adapt to
            another domain).
        trainable: a regular expression; the encoder weights whose path it
            matches move (`python -m tfhub_transfer.encoders info NAME` lists the paths).
        groups: of those, learning-rate multipliers by path; the first match wins, and 1 stands
            for weights that none matches.
        last_layers: of a transformer, move only this many last layers, and the pooler; 0 is the
            pooler alone.
        unfreezing: `gradual` trains the head alone for an epoch, then lets one more layer of a
            transformer move with each epoch, from the top down, embeddings last (ULMFiT, arXiv
            1801.06146); epochs that are left over follow with all of it moving.
        layer_decay: multiplies the rate of each transformer layer once more for each layer above
            it (discriminative rates, the same paper: 0.385).
        epochs: passes over the training rows at most; by the strategy when not given.
        batch_size: examples per batch.
        accumulate: batches whose gradients are averaged to one optimizer step.
        optimizer: `adamw`, which leaves the rows of a token table alone that a batch did not look
            up; or one of Keras' own, which do not: `nadam`, `lion`, `sgd` with Nesterov momentum
            0.9, `rmsprop`, `adafactor`. Each wants a learning rate of its own.
        learning_rate: the optimizer's, at its highest; when not given, 1e-3, and 1e-2 for the head
            of `contrastive`.
        encoder_learning_rate: that of the encoder's weights, where they move; when not given,
            5e-5 for a transformer, and for a text embedding 0.01 times the root mean square of
            its weights.
        warmup: the share of all steps in which the rate rises from zero.
        decay: how the rate falls after the warm-up; `slanted` along a line to 1/32 of the peak.
        weight_decay: decoupled (AdamW, arXiv 1711.05101); norms and biases are spared.
        clip_norm: gradients are scaled down to this norm, taken over all weights.
        truncate_loss: from the second epoch on, the share of each batch with the highest loss that
            is left out, as probably mislabelled (arXiv 2004.14589).
        precision: of the matrix products in training a transformer; bfloat16 is faster where the
            processor has it. Weights stay float32.
        patience: epochs without a better one before training stops; the best epoch's weights are
            kept.
        keep: which epoch is the best: that with the lowest validation `loss`, with the highest
            validation `accuracy` (which often goes on rising where a fine-tuned model grows too
            sure of itself; of equal ones the lowest loss decides), or the `last`.
        distribute: `mirrored` divides each batch among all GPUs of this machine, `tpu` among the
            cores of a TPU, where it trains a head on cached vectors alone.
        tensorboard: also write TensorBoard logs into the run directory.
    """

    strategy: str = "feature_extraction"
    trainable: str = ".*"
    groups: tuple[WeightGroup, ...] = ()
    last_layers: int | None = None
    unfreezing: Literal["at_once", "gradual"] = "at_once"
    layer_decay: float = 1.0
    epochs: int | None = None
    batch_size: int = 64
    accumulate: int = 1
    optimizer: Literal["adamw", "nadam", "lion", "sgd", "rmsprop", "adafactor"] = "adamw"
    learning_rate: float | None = None
    encoder_learning_rate: float | None = None
    warmup: float = 0.05
    decay: Literal["none", "linear", "cosine", "slanted"] = "cosine"
    weight_decay: float = 0.0
    clip_norm: float | None = None
    truncate_loss: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    patience: int = 6
    keep: Literal["loss", "accuracy", "last"] = "loss"
    distribute: Literal["none", "mirrored", "tpu"] = "none"
    tensorboard: bool = False

    def __post_init__(self) -> None:
        STRATEGIES.check(self.strategy)
        regular_expression("training.trainable", self.trainable)
        at_least("training.last_layers", self.last_layers, 0)
        within("training.layer_decay", self.layer_decay, 1e-3, 1.0)
        at_least("training.epochs", self.epochs, 1)
        at_least("training.batch_size", self.batch_size, 1)
        at_least("training.accumulate", self.accumulate, 1)
        at_least("training.patience", self.patience, 1)
        if self.learning_rate is not None:
            within("training.learning_rate", self.learning_rate, 1e-9, 100.0)
        if self.encoder_learning_rate is not None:
            within("training.encoder_learning_rate", self.encoder_learning_rate, 1e-9, 100.0)
        within("training.warmup", self.warmup, 0.0, 1.0)
        within("training.weight_decay", self.weight_decay, 0.0, 10.0)
        if self.clip_norm is not None:
            within("training.clip_norm", self.clip_norm, 1e-9, 1e9)
        within("training.truncate_loss", self.truncate_loss, 0.0, 0.9)

    @property
    def max_epochs(self) -> int:
        """The passes over the training rows, the strategy's own where none are given."""
        return self.epochs or EPOCHS[self.strategy]

    @property
    def peak_rate(self) -> float:
        """The optimizer's learning rate at its highest, the strategy's own where none is given."""
        return self.learning_rate or LEARNING_RATES[self.strategy]


@dataclass(frozen=True)
class EvaluationConfig:
    """How the result is measured.

    Attributes:
        baselines: what is fitted on the same training rows and reported beside the model; of texts
            `majority`, `tfidf_logreg`, `linear_probe` (logistic regression on the frozen encoder's
            vectors), `textblob` (English sentiment polarity; an optional package); of words
            `frequent_tag`, `hmm` and `crf_features` (a CRF on shapes and neighbours of words),
            the last two by optional packages. By the task when not given.
        baseline_limit: training rows a baseline is fitted on at most, drawn with the seed, so
            that memory stays bounded; the report says when it applied.
        bootstrap: resamples of the test rows behind each 95% interval.
    """

    baselines: tuple[str, ...] | None = None
    baseline_limit: int = 100_000
    bootstrap: int = 1000

    def __post_init__(self) -> None:
        for name in self.baselines or ():
            BASELINES.check(name)
        at_least("evaluation.baseline_limit", self.baseline_limit, 10)
        at_least("evaluation.bootstrap", self.bootstrap, 10)


@dataclass(frozen=True)
class Config:
    """One training run.

    Attributes:
        task: what is predicted.
        run: the run directory; a new one under `runs/`, named by date and time, when not given.
        resume: continue the run in that directory from its last checkpoint.
        overwrite: empty a run directory that is already there.
        seed: of every random choice; two runs with one seed on one machine are equal.
        data: where the examples come from and how they are split.
        encoder: which pre-trained encoder turns text into vectors.
        head: the layers trained on top of the encoder.
        training: which weights move, and how.
        contrastive: more about the strategy of that name.
        distillation: more about the strategy of that name.
        tagging: more about the task of that name.
        span: more about the task of that name.
        adaptation: more about the strategies `dann` and `coral`.
        evaluation: how the result is measured.
    """

    task: str = "classification"
    run: str | None = None
    resume: bool = False
    overwrite: bool = False
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    contrastive: ContrastiveConfig = field(default_factory=ContrastiveConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    tagging: TaggingConfig = field(default_factory=TaggingConfig)
    span: SpanConfig = field(default_factory=SpanConfig)
    adaptation: AdaptationConfig = field(default_factory=AdaptationConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        TASKS.check(self.task)
        if self.head.hidden is None:
            linear = self.training.strategy == "contrastive"
            head = dataclasses.replace(self.head, hidden=() if linear else HIDDEN[self.task])
            object.__setattr__(self, "head", head)
        if self.training.learning_rate is None:
            training = dataclasses.replace(self.training, learning_rate=self.training.peak_rate)
            object.__setattr__(self, "training", training)
        if self.evaluation.baselines is None:
            names = TASK_BASELINES[self.task]
            evaluation = dataclasses.replace(self.evaluation, baselines=names)
            object.__setattr__(self, "evaluation", evaluation)
        within("seed", self.seed, 0, 2**32 - 1)
        if self.resume and self.overwrite:
            raise ConfigError("--resume continues a run and --overwrite empties it: give one.")
        if self.resume and not self.run:
            raise ConfigError("--resume needs the run directory to continue: add --run DIR.")
        check_together(self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists and scalars, as YAML and JSON hold them."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain
