"""Tiny encoders of each kind, with random weights; made once in a session, and copied.

write_text_embedding(directory)   a text embedding, as nnlm
write_transformer(directory)      a transformer as TF Hub has them: lookup table, word axis
write_bert(directory)             a transformer that `encoders.bert` built
write_checkpoint(directory)       what that is built from
"""

from __future__ import annotations

import functools
import json
import shutil
import string
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text
from safetensors.numpy import save_file

from tfhub_transfer.encoders import bert
from tfhub_transfer.encoders.reusable import save_reusable

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY = [
    *SPECIAL,
    *string.ascii_lowercase,
    *(f"##{letter}" for letter in string.ascii_lowercase),
    *("good", "bad", "film", "the", "was", "##ing", ".", "!"),
]
EMBEDDING_WIDTH = 8
TRANSFORMER_WIDTH = 12
BERT_WIDTH = 16
LENGTH = 16  # of every row that write_transformer's preprocessor gives
POSITIONS = 32

_SENTENCE_POOLING = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}


def once(write: Callable[..., Path]) -> Callable[..., Path]:
    """Copy what `write` made before with the same options; tracing takes a second or three."""

    @functools.cache
    def made(**options: Any) -> tempfile.TemporaryDirectory[str]:
        folder = tempfile.TemporaryDirectory()
        write(Path(folder.name), **options)
        return folder

    @functools.wraps(write)
    def copied(directory: Path, **options: Any) -> Path:
        shutil.copytree(made(**options).name, directory, dirs_exist_ok=True)
        return directory

    return copied


@once
def write_text_embedding(directory: Path, *, seed: int = 0) -> Path:
    """Write a text embedding of EMBEDDING_WIDTH: the sum of its words' vectors, by their hash."""

    class TextEmbedding(tf.Module):
        def __init__(self) -> None:
            super().__init__(name="tiny")
            self._table = tf.Variable(_random(seed, 100, EMBEDDING_WIDTH), name="embeddings")

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, text: tf.Tensor) -> tf.Tensor:
            words = tf.strings.split(text)
            hashed = tf.strings.to_hash_bucket_fast(words.values, 100)
            vectors = tf.gather(self._table, hashed)
            rows = tf.shape(text)[0]
            return tf.math.unsorted_segment_sum(vectors, words.value_rowids(), rows)

    module = TextEmbedding()
    save_reusable(module, directory, functions={"__call__": module.__call__})
    return directory


@once
def write_transformer(directory: Path, *, seed: int = 0) -> Path:
    """Write a pair of TRANSFORMER_WIDTH: embeddings, two residual layers with dropout, a pooler."""
    vocabulary = directory / "vocabulary.txt"
    directory.mkdir(parents=True, exist_ok=True)
    vocabulary.write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    _write_preprocess(directory / "preprocess", vocabulary)
    vocabulary.unlink()

    class Encoder(tf.Module):
        def __init__(self) -> None:
            super().__init__(name="tiny")
            width = TRANSFORMER_WIDTH
            self._words = tf.Variable(
                _random(seed, len(VOCABULARY), width), name="word_embeddings/embeddings"
            )
            self._layers = [
                tf.Variable(
                    _random(seed + 1 + n, width, width), name=f"transformer/layer_{n}/kernel"
                )
                for n in range(2)
            ]
            self._pooler = tf.Variable(_random(seed + 3, width, width), name="pooler/kernel")

        @tf.function
        def __call__(self, inputs: dict[str, tf.Tensor], training: bool = False) -> dict[str, Any]:
            hidden = tf.gather(self._words, inputs["input_word_ids"])
            outputs = []
            for kernel in self._layers:
                if training:
                    hidden = tf.nn.dropout(hidden, 0.5)
                hidden += tf.tanh(tf.einsum("bsd,de->bse", hidden, kernel))
                outputs.append(hidden)
            mask = tf.cast(inputs["input_mask"], tf.float32)[:, :, tf.newaxis]
            mean = tf.reduce_sum(hidden * mask, 1) / tf.reduce_sum(mask, 1)
            pooled = tf.tanh(tf.matmul(mean, self._pooler))
            return {
                "pooled_output": pooled,
                "sequence_output": hidden,
                "encoder_outputs": outputs,
                "default": pooled,
            }

    module = Encoder()
    spec = {
        name: tf.TensorSpec([None, None], tf.int32, name)
        for name in ("input_word_ids", "input_mask", "input_type_ids")
    }
    for training in (False, True):
        module.__call__.get_concrete_function(spec, training=training)
    save_reusable(module, directory / "encoder", functions={"__call__": module.__call__})
    return directory


def _write_preprocess(directory: Path, vocabulary: Path) -> None:
    class Preprocess(tf.Module):
        def __init__(self) -> None:
            super().__init__(name="preprocess")
            table = tf.lookup.StaticVocabularyTable(
                tf.lookup.TextFileInitializer(
                    str(vocabulary),
                    tf.string,
                    tf.lookup.TextFileIndex.WHOLE_LINE,
                    tf.int64,
                    tf.lookup.TextFileIndex.LINE_NUMBER,
                ),
                num_oov_buckets=1,
            )
            self.table = table
            self._tokenizer = tf_text.BertTokenizer(table, lower_case=True, token_out_type=tf.int32)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def tokenize(self, text: tf.Tensor) -> tf.RaggedTensor:
            """Return int32[B, (words), (pieces)], as TF Hub's tokenizers do."""
            return self._tokenizer.tokenize(text)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
            tokens = self.tokenize(text).merge_dims(1, 2)[:, : LENGTH - 2]
            one = tf.ones([tf.shape(text)[0], 1], tf.int32)
            start, end = VOCABULARY.index("[CLS]"), VOCABULARY.index("[SEP]")
            rows = tf.concat([one * start, tokens, one * end], axis=1)
            ids = rows.to_tensor(0, shape=[None, LENGTH])
            return {
                "input_word_ids": ids,
                "input_mask": tf.sequence_mask(rows.row_lengths(), LENGTH, tf.int32),
                "input_type_ids": tf.zeros_like(ids),
            }

    module = Preprocess()
    save_reusable(
        module,
        directory,
        functions={"__call__": module.__call__, "tokenize": module.tokenize},
        resources=[module.table],
    )


@once
def write_bert(directory: Path, **options: Any) -> Path:
    """Build a tiny BERT; the options are those of `write_checkpoint`."""
    checkpoint = write_checkpoint(directory / "checkpoint", **options)
    bert.build(checkpoint, directory)
    return directory


def write_checkpoint(
    directory: Path,
    *,
    pooling: str = "mean",
    normalize: bool = True,
    activation: str = "gelu",
    prefix: str = "",
    seed: int = 0,
    **settings: Any,
) -> Path:
    """Write a BERT checkpoint in Hugging Face layout, BERT_WIDTH wide, of two layers.

    Args:
        directory: a new one.
        pooling: `mean` or `cls`, as sentence-transformers writes it down, or `pooler`.
        normalize: whether its vectors have length one.
        activation: `hidden_act`.
        prefix: of the tensors' names.
        seed: of the weights.
        **settings: replace what is in config.json.
    """
    config = {
        "model_type": "bert",
        "vocab_size": len(VOCABULARY),
        "hidden_size": BERT_WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 24,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "hidden_dropout_prob": 0.1,
        "hidden_act": activation,
        **settings,
    }
    files: dict[str, Any] = {"config.json": config}
    if pooling in _SENTENCE_POOLING:
        modes = {mode: mode == _SENTENCE_POOLING[pooling] for mode in _SENTENCE_POOLING.values()}
        files["1_Pooling/config.json"] = {"word_embedding_dimension": BERT_WIDTH, **modes}
    modules = ["Transformer", "Pooling", *(["Normalize"] if normalize else [])]
    files["modules.json"] = [
        {"idx": index, "type": f"sentence_transformers.models.{module}"}
        for index, module in enumerate(modules)
    ]
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(json.dumps(content), encoding="utf-8")
    (directory / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    tensors = {f"{prefix}{name}": value for name, value in _bert_tensors(config, seed).items()}
    save_file(tensors, directory / "model.safetensors")
    return directory


def _bert_tensors(config: dict[str, Any], seed: int) -> dict[str, np.ndarray]:
    width, inner = config["hidden_size"], config["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], width),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], width),
        "embeddings.LayerNorm.weight": (width,),
        "embeddings.LayerNorm.bias": (width,),
        "pooler.dense.weight": (width, width),
        "pooler.dense.bias": (width,),
    }
    for index in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{index}"
        for name, (rows, columns) in {
            "attention.self.query": (width, width),
            "attention.self.key": (width, width),
            "attention.self.value": (width, width),
            "attention.output.dense": (width, width),
            "intermediate.dense": (inner, width),
            "output.dense": (width, inner),
        }.items():
            shapes[f"{layer}.{name}.weight"] = (rows, columns)
            shapes[f"{layer}.{name}.bias"] = (rows,)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"{layer}.{name}.weight"] = shapes[f"{layer}.{name}.bias"] = (width,)
    return {name: _random(seed + n, *shape) for n, (name, shape) in enumerate(shapes.items())}


def _random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.5, shape).astype(np.float32)
