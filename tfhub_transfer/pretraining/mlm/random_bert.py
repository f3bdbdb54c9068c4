"""A BERT with random weights, which pre-training from scratch begins with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import truncnorm

from tfhub_transfer.encoders import bert
from tfhub_transfer.encoders.bert_checkpoint import BertConfig, Weights
from tfhub_transfer.pretraining.mlm.settings import MlmConfig

__all__ = ["write_random_bert"]

_DEVIATION = 0.02


def write_random_bert(vocabulary: Sequence[str], config: MlmConfig, target: Path) -> None:
    """Write a transformer of random weights as `encoders build` writes one.

    Kernels and tables are normal, of deviation 0.02, truncated at two deviations; biases are zero
    (Devlin et al. 2018, arXiv 1810.04805, and the code released with it). With next-sentence
    prediction the pooled output is that of BERT's pooler, which that trains; without it the mean
    over the tokens, for a pooler would stay random.

    Args:
        vocabulary: the word pieces.
        config: shape and seed.
        target: an existing directory.
    """
    shape = BertConfig(
        vocabulary=len(vocabulary),
        width=config.width,
        layers=config.layers,
        heads=config.heads,
        intermediate=config.intermediate,
        positions=config.positions,
        epsilon=1e-12,
        dropout=config.dropout,
        activation="gelu",
        max_tokens=config.positions,
        lower_case=config.lower_case,
        pooling="pooler" if config.next_sentence else "mean",
        normalize=False,
    )
    bert.write(shape, _weights(shape, config.seed), list(vocabulary), target)


def _weights(shape: BertConfig, seed: int) -> Weights:
    random = np.random.default_rng(seed)
    width, inner = shape.width, shape.intermediate
    tensors: dict[str, np.ndarray] = {}

    def kernel(name: str, rows: int, columns: int) -> None:
        values = truncnorm.rvs(-2, 2, scale=_DEVIATION, size=(rows, columns), random_state=random)
        tensors[f"{name}.weight"] = values.astype(np.float32)

    def dense(name: str, outputs: int, inputs: int) -> None:
        kernel(name, outputs, inputs)
        tensors[f"{name}.bias"] = np.zeros(outputs, np.float32)

    def norm(name: str) -> None:
        tensors[f"{name}.LayerNorm.weight"] = np.ones(width, np.float32)
        tensors[f"{name}.LayerNorm.bias"] = np.zeros(width, np.float32)

    kernel("embeddings.word_embeddings", shape.vocabulary, width)
    kernel("embeddings.position_embeddings", shape.positions, width)
    kernel("embeddings.token_type_embeddings", 2, width)
    norm("embeddings")
    for index in range(shape.layers):
        layer = f"encoder.layer.{index}"
        for part in ("query", "key", "value"):
            dense(f"{layer}.attention.self.{part}", width, width)
        dense(f"{layer}.attention.output.dense", width, width)
        norm(f"{layer}.attention.output")
        dense(f"{layer}.intermediate.dense", inner, width)
        dense(f"{layer}.output.dense", width, inner)
        norm(f"{layer}.output")
    dense("pooler.dense", width, width)
    return Weights(tensors)
