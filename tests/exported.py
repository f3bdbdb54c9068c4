"""Tiny artifacts for tests, written in about a second and without training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from tests.encoders.tiny import EMBEDDING_WIDTH, write_bert, write_text_embedding
from tfhub_transfer.artifact.answerer import save_answerer
from tfhub_transfer.artifact.signatures import save_classifier
from tfhub_transfer.artifact.tagger import save_tagger
from tfhub_transfer.config import HeadConfig, SpanConfig, TaggingConfig
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.heads.classification import ClassificationHead
from tfhub_transfer.heads.span import SpanHead
from tfhub_transfer.heads.tagging import TaggingHead
from tfhub_transfer.training.classifier import Classifier

TAGS = ("O", "B-city", "I-city", "B-person", "I-person")


def write_artifact(
    directory: Path, *, labels: Sequence[str] = ("good", "poor"), bias: float = 0.0, seed: int = 0
) -> Path:
    """Write an exported version to `directory`.

    Args:
        directory: a new one, as `NAME/1`; its parents are made.
        labels: class names.
        bias: is added to the first label's logit, so that versions can be told apart.
        seed: of the weights.
    """
    encoder_path = directory.parent / f".encoder-{directory.name}"
    encoder = HubLayer(write_text_embedding(encoder_path), name="encoder")
    head = ClassificationHead(HeadConfig(hidden=()), labels)
    network = head.network(EMBEDDING_WIDTH)
    draw = np.random.default_rng(seed)
    kernel = draw.normal(0.0, 0.5, (EMBEDDING_WIDTH, len(labels))).astype(np.float32)
    shift = np.zeros(len(labels), np.float32)
    shift[0] = bias
    network.set_weights([kernel, shift])
    save_classifier(encoder, head, network, directory)
    keras.utils.clear_session(free_memory=False)
    return directory


def write_tagger(
    directory: Path,
    *,
    labels: Sequence[str] = TAGS,
    intents: Sequence[str] = (),
    crf: bool = False,
    recurrent: int = 0,
    encoder: Callable[[Path], Path] = write_text_embedding,
    seed: int = 0,
) -> tuple[HubLayer, TaggingHead, keras.Model]:
    """Write an exported tagger to `directory`, and return what it was made of.

    Args:
        directory: a new one, as `NAME/1`; its parents are made.
        labels: tags in IOB2.
        intents: labels of whole texts.
        crf: whether a chain decides on the tags.
        recurrent: units of an LSTM below it.
        encoder: writes it to a directory.
        seed: of the weights.
    """
    tagging = TaggingConfig(crf=crf, recurrent=recurrent)
    head = TaggingHead(HeadConfig(hidden=()), labels, tagging=tagging, intents=intents)
    path = encoder(directory.parent / f".encoder-{directory.name}")
    layer = HubLayer(path, output=head.reads, name="encoder")
    network = head.network(layer.width)
    draw = np.random.default_rng(seed)
    network.set_weights([draw.normal(0.0, 1.0, each.shape) for each in network.get_weights()])
    save_tagger(layer, head, network, directory)
    keras.utils.clear_session(free_memory=False)
    return layer, head, network


def write_answerer(
    directory: Path, *, no_answer: float | None = None, n_best: int = 3, seed: int = 0
) -> Classifier:
    """Write an exported model of answers to `directory`, and return what it was made of.

    Args:
        directory: a new one, as `NAME/1`; its parents are made.
        no_answer: the difference of logits from which on there is none.
        n_best: answers besides the best.
        seed: of the weights.
    """
    head = SpanHead(
        HeadConfig(hidden=(8,)),
        ("answer", "no answer"),
        span=SpanConfig(n_best=n_best),
        no_answer=no_answer,
    )
    path = write_bert(directory.parent / f".encoder-{directory.name}")
    layer = HubLayer(path, output=head.reads, words=head.splitting, name="encoder")
    network = head.network(layer.width)
    draw = np.random.default_rng(seed)
    network.set_weights([draw.normal(0.0, 1.0, each.shape) for each in network.get_weights()])
    save_answerer(layer, head, network, directory)
    keras.utils.clear_session(free_memory=False)
    return Classifier(head, layer, network)
