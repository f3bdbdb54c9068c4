"""This project's fine-tuning, in a process of its own: arguments PRECISION SAMPLING.

The same parts as a training run puts together, without its validation and its checkpoints, which
the peers do not have either. SAMPLING is `by_length`, what a run does, or `shuffled`.
"""

from __future__ import annotations

import functools
import os

from benchmarks.peers.worker import Loaded, serve

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

BATCH = 32


def load(arguments: list[str]) -> Loaded:
    """Load minilm-l6 with a linear head, all weights moving."""
    import numpy as np
    import tensorflow as tf

    from tfhub_transfer.config import Config, EncoderConfig, HeadConfig, TrainingConfig
    from tfhub_transfer.data.examples import Examples, TextColumn
    from tfhub_transfer.data.pipeline import Order, batches, text_features
    from tfhub_transfer.encoders.lengths import token_counts
    from tfhub_transfer.training.classifier import Classifier
    from tfhub_transfer.training.optimizer import make_optimizer

    precision, sampling = arguments
    if precision not in ("float32", "bfloat16") or sampling not in ("shuffled", "by_length"):
        raise ValueError(f"no such precision or sampling: {arguments}")
    tf.config.experimental.enable_op_determinism()  # as a run does
    tf.keras.utils.set_random_seed(0)
    config = Config(
        encoder=EncoderConfig(name="minilm-l6", offline=True),
        head=HeadConfig(hidden=()),
        # PyTorch's AdamW decays by this much unless told otherwise
        training=TrainingConfig(strategy="fine_tuning", batch_size=BATCH, weight_decay=0.01),
    )
    classifier = Classifier.build(config, ("a", "b"), multi_label=False)
    classifier.encoder.move(".*")
    classifier.encoder.train_in("bfloat16" if precision == "bfloat16" else "float32")
    classifier.model.compile(make_optimizer(5e-5, config.training), classifier.head.loss())

    def train(texts: list[str]) -> list[float]:
        column = TextColumn()
        column.append(texts)
        rows = np.arange(len(texts))
        examples = Examples(column, rows, (rows % 2).astype(np.int32), rows + 1, "benchmark")
        lengths = token_counts(classifier.encoder, [texts]) if sampling == "by_length" else None
        order = Order(examples, 2, lengths=lengths, batch_size=BATCH)
        targets = functools.partial(examples.targets, 2)
        data = batches(text_features(examples), examples, targets, BATCH, order=order)
        history = classifier.model.fit(data, shuffle=False, verbose=0).history
        return history["loss"] * len(texts)

    batches_are = "of like length" if sampling == "by_length" else "shuffled"
    return Loaded(
        encode=train,
        packages=("tensorflow", "tensorflow-text", "keras"),
        note=f"strings in, `LazyAdamW`, products in {precision}, op determinism as in a run; "
        f"batches {batches_are}",
        vectors=False,
    )


if __name__ == "__main__":
    serve(load)
