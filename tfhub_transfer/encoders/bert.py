"""A BERT checkpoint in Hugging Face layout -> TF Hub's preprocess and encoder SavedModels.

The graph is Devlin et al. 2018 (arXiv 1810.04805), post-norm, written with plain TensorFlow ops so
that stock TensorFlow Serving runs it. Weights are read with safetensors; PyTorch is not needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from tfhub_transfer.encoders.bert_checkpoint import (
    BertConfig,
    Weights,
    read_vocabulary,
    read_weights,
)
from tfhub_transfer.encoders.packing import SpecialTokens, pack
from tfhub_transfer.encoders.reusable import save_reusable

# Added to the attention scores of padding. Large enough to vanish in the softmax, small enough
# for bfloat16 and float16 alike.
_PADDING_SCORE = -30_000.0


class BertPreprocess(tf.Module):
    """Text to token ids, as TF Hub's BERT preprocessors give them.

    Rows are padded to the longest text of the batch, not to a fixed length.
    """

    def __init__(self, vocabulary: list[str], *, lower_case: bool, max_tokens: int):
        super().__init__(name="preprocess")
        self._special = SpecialTokens(*map(vocabulary.index, ("[CLS]", "[SEP]", "[PAD]")))
        self._max_tokens = max_tokens
        self._vocabulary = vocabulary
        self._tokenizer = tf_text.FastBertTokenizer(
            vocabulary, lower_case_nfd_strip_accents=lower_case
        )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def tokenize(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Return the word piece ids, int32[B, (T)], without special tokens."""
        tokens: tf.RaggedTensor = tf.cast(self._tokenizer.tokenize(text), tf.int32)
        return tokens

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def __call__(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return input_word_ids, input_mask and input_type_ids, each int32[B, S]."""
        return pack(self.tokenize(text), self._special, self._max_tokens)

    @tf.function(input_signature=[])
    def vocabulary(self) -> tf.Tensor:
        """Return the word pieces in the order of their ids, string[V]; the tokenizer hides them."""
        return tf.constant(self._vocabulary)


_INPUTS = {
    name: tf.TensorSpec([None, None], tf.int32, name)
    for name in ("input_word_ids", "input_mask", "input_type_ids")
}


class BertEncoder(tf.Module):
    """Token ids to vectors, with the inputs and outputs of TF Hub's BERT encoders.

    `encode_bfloat16` is the same function with its matrix products in bfloat16 (weights, residual
    stream and norms stay float32): 2 to 3 times as fast where the processor has such products.
    `train_bfloat16` is that with dropout, for training; the products of its gradients are in
    bfloat16 too, and what it gives each weight is float32.
    """

    def __init__(self, config: BertConfig, weights: Weights):
        super().__init__(name="bert")
        self._config = config
        read = weights

        def norm(name: str, source: str) -> tuple[tf.Variable, tf.Variable]:
            return (
                tf.Variable(read(f"{source}.LayerNorm.weight"), name=f"{name}/gamma"),
                tf.Variable(read(f"{source}.LayerNorm.bias"), name=f"{name}/beta"),
            )

        def dense(name: str, *sources: str) -> tuple[tf.Variable, tf.Variable]:
            kernel = np.concatenate([read(f"{source}.weight").T for source in sources], axis=1)
            bias = np.concatenate([read(f"{source}.bias") for source in sources])
            return (
                tf.Variable(kernel, name=f"{name}/kernel"),
                tf.Variable(bias, name=f"{name}/bias"),
            )

        self._words = tf.Variable(
            read("embeddings.word_embeddings.weight"), name="embeddings/word/embeddings"
        )
        self._positions = tf.Variable(
            read("embeddings.position_embeddings.weight"), name="embeddings/position/embeddings"
        )
        self._types = tf.Variable(
            read("embeddings.token_type_embeddings.weight"), name="embeddings/type/embeddings"
        )
        self._embedding_norm = norm("embeddings/norm", "embeddings")
        self._blocks = []
        for index in range(config.layers):
            name, source = f"layer_{index}", f"encoder.layer.{index}"
            attention = f"{source}.attention.self"
            self._blocks.append(
                {
                    "qkv": dense(
                        f"{name}/attention/qkv",
                        f"{attention}.query",
                        f"{attention}.key",
                        f"{attention}.value",
                    ),
                    "output": dense(f"{name}/attention/output", f"{source}.attention.output.dense"),
                    "attention_norm": norm(f"{name}/attention/norm", f"{source}.attention.output"),
                    "up": dense(f"{name}/feed_forward/up", f"{source}.intermediate.dense"),
                    "down": dense(f"{name}/feed_forward/down", f"{source}.output.dense"),
                    "norm": norm(f"{name}/feed_forward/norm", f"{source}.output"),
                }
            )
        self._pooler = dense("pooler", "pooler.dense") if config.pooling == "pooler" else None
        # The dropout masks are a function of this counter, so that a run with a seed repeats and
        # a resumed one continues.
        self._dropout_state = tf.Variable(
            [0, 0], dtype=tf.int32, trainable=False, name="dropout_state"
        )

    @tf.function
    def __call__(self, inputs: dict[str, tf.Tensor], training: bool = False) -> dict[str, Any]:
        """Return the contract's outputs; see the module of `encoders.layer`.

        Args:
            inputs: input_word_ids, input_mask and input_type_ids, each int32[B, S].
            training: whether dropout is applied.

        Returns:
            pooled_output and default float32[B, D], sequence_output float32[B, S, D], and
            encoder_outputs, the list of each layer's float32[B, S, D]; zeros where padding is.
        """
        return self._forward(inputs, training=training, products=tf.float32)

    @tf.function(input_signature=[_INPUTS])
    def encode_bfloat16(self, inputs: dict[str, tf.Tensor]) -> dict[str, Any]:
        """Return the same outputs, float32, from matrix products in bfloat16."""
        return self._forward(inputs, training=False, products=tf.bfloat16)

    @tf.function(input_signature=[_INPUTS])
    def train_bfloat16(self, inputs: dict[str, tf.Tensor]) -> dict[str, Any]:
        """Return the outputs with dropout, float32, from matrix products in bfloat16."""
        return self._forward(inputs, training=True, products=tf.bfloat16)

    def _forward(
        self, inputs: dict[str, tf.Tensor], *, training: bool, products: tf.DType
    ) -> dict[str, Any]:
        config = self._config
        ids, mask = inputs["input_word_ids"], inputs["input_mask"]
        batch, length = tf.shape(ids)[0], tf.shape(ids)[1]
        dropout = self._dropout(training)

        # Between attentions all tokens are one matrix [T, D], padding left out: one product per
        # dense layer, and none of them in vain.
        kept = tf.where(tf.reshape(mask, [-1]) > 0)
        layout = _Layout(kept, batch, length)
        hidden = tf.gather(self._words, layout.packed(ids))
        hidden += tf.gather(self._positions, tf.cast(kept[:, 0], tf.int32) % length)
        hidden += tf.gather(self._types, layout.packed(inputs["input_type_ids"]))
        hidden = dropout(_layer_norm(hidden, self._embedding_norm, config.epsilon))
        padding = (1.0 - tf.cast(mask, tf.float32)) * _PADDING_SCORE
        padding = tf.expand_dims(tf.expand_dims(tf.cast(padding, products), 1), 1)

        outputs = []
        for block in self._blocks:
            attended = self._attention(hidden, block, padding, layout, products, dropout)
            hidden = _layer_norm(hidden + attended, block["attention_norm"], config.epsilon)
            inner = _dense(hidden, block["up"], products)
            # the gradient of GELU in bfloat16 is coarse, and slower than in float32
            inner = tf.cast(inner, tf.float32) if training else inner
            inner = _activate(inner, config.activation)
            inner = tf.cast(_dense(inner, block["down"], products), tf.float32)
            hidden = _layer_norm(hidden + dropout(inner), block["norm"], config.epsilon)
            outputs.append(layout.padded(hidden))

        pooled = self._pool(outputs[-1], mask)
        return {
            "pooled_output": pooled,
            "sequence_output": outputs[-1],
            "encoder_outputs": outputs,
            "default": pooled,
        }

    def _attention(
        self,
        hidden: tf.Tensor,
        block: dict[str, Any],
        padding: tf.Tensor,
        layout: _Layout,
        products: tf.DType,
        dropout: Any,
    ) -> tf.Tensor:
        heads, size = self._config.heads, self._config.width // self._config.heads
        qkv = layout.padded(_dense(hidden, block["qkv"], products))
        qkv = tf.reshape(qkv, [layout.batch, layout.length, 3, heads, size])
        query, key, value = tf.unstack(tf.transpose(qkv, [2, 0, 3, 1, 4]))
        scores = tf.matmul(query, key, transpose_b=True) * tf.cast(size**-0.5, products) + padding
        # The softmax is float32 in either case: exact, and faster than Eigen's in bfloat16.
        weights = dropout(tf.nn.softmax(tf.cast(scores, tf.float32)))
        context = tf.matmul(tf.cast(weights, products), value)
        context = tf.transpose(context, [0, 2, 1, 3])
        context = tf.reshape(layout.packed(context, heads, size), [-1, heads * size])
        return dropout(tf.cast(_dense(context, block["output"], products), tf.float32))

    def _pool(self, tokens: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        if self._config.pooling == "mean":
            weights = tf.expand_dims(tf.cast(mask, tf.float32), -1)
            total = tf.reduce_sum(tokens * weights, 1)
            pooled = tf.math.divide_no_nan(total, tf.reduce_sum(weights, 1))
        else:
            pooled = tokens[:, 0]
            if self._pooler is not None:
                pooled = tf.tanh(_dense(pooled, self._pooler, tf.float32))
        if self._config.normalize:
            pooled = tf.math.l2_normalize(pooled, -1, epsilon=1e-24)
        return pooled

    def _dropout(self, training: bool) -> Any:
        """Return the function that drops out, a new mask at each call of it; or the identity."""
        if not training or not self._config.dropout:
            return lambda tensor: tensor
        state = self._dropout_state.assign_add([1, 0])
        calls = iter(range(1_000_000))
        return lambda tensor: tf.nn.experimental.stateless_dropout(
            tensor, self._config.dropout, seed=state + tf.constant([0, next(calls)])
        )


class _Layout(NamedTuple):
    """Where the tokens of a batch stand, padding left out.

    Attributes:
        kept: int64[T, 1], their places among the B * S.
        batch: B.
        length: S.
    """

    kept: tf.Tensor
    batch: tf.Tensor
    length: tf.Tensor

    def packed(self, values: tf.Tensor, *shape: int) -> tf.Tensor:
        """Return [T, *shape] of [B, S, *shape]."""
        return tf.gather(tf.reshape(values, [-1, *shape]), self.kept[:, 0])

    def padded(self, rows: tf.Tensor) -> tf.Tensor:
        """Return [B, S, D] of [T, D], zeros where padding is."""
        width = rows.shape[-1]
        flat = tf.scatter_nd(self.kept, rows, tf.cast([self.batch * self.length, width], tf.int64))
        return tf.reshape(flat, [self.batch, self.length, width])


def build(checkpoint: Path, target: Path, *, sha256: str | None = None) -> None:
    """Write `target/preprocess` and `target/encoder` from a BERT checkpoint.

    Args:
        checkpoint: a directory with config.json, vocab.txt and model.safetensors.
        target: an existing directory to write into.
        sha256: what the weights' checksum must be; any when not given.

    Raises:
        EncoderError: a file is missing, or the checkpoint is no BERT.
        CorruptEncoderError: the weights are truncated, of another checksum or incomplete.
    """
    config = BertConfig.read(checkpoint)
    weights = read_weights(checkpoint, sha256=sha256)
    vocabulary = read_vocabulary(checkpoint / "vocab.txt", config.vocabulary)
    write(config, weights, vocabulary, target)


def write(config: BertConfig, weights: Weights, vocabulary: list[str], target: Path) -> None:
    """Write `target/preprocess` and `target/encoder`.

    Args:
        config: of the encoder.
        weights: its tensors, named as in a checkpoint.
        vocabulary: the word pieces in the order of their ids.
        target: an existing directory to write into.
    """
    preprocess = BertPreprocess(
        vocabulary, lower_case=config.lower_case, max_tokens=config.max_tokens
    )
    save_reusable(
        preprocess,
        target / "preprocess",
        functions={
            "__call__": preprocess.__call__,
            "tokenize": preprocess.tokenize,
            "vocabulary": preprocess.vocabulary,
        },
        signatures=preprocess.__call__,
    )
    encoder = BertEncoder(config, weights)
    for training in (False, True):
        encoder.__call__.get_concrete_function(_INPUTS, training=training)
    save_reusable(
        encoder,
        target / "encoder",
        functions={
            "__call__": encoder.__call__,
            "encode_bfloat16": encoder.encode_bfloat16,
            "train_bfloat16": encoder.train_bfloat16,
        },
    )


def _layer_norm(
    tensor: tf.Tensor, scale: tuple[tf.Variable, tf.Variable], epsilon: float
) -> tf.Tensor:
    """Normalise the rows of a float32[N, D] (Ba et al. 2016, arXiv 1607.06450).

    The row means are products with a column of 1/D: oneDNN's are faster than Eigen's reductions.
    """
    gamma, beta = scale
    mean_of = tf.fill([tensor.shape[-1], 1], 1.0 / tensor.shape[-1])
    centred = tensor - tf.matmul(tensor, mean_of)
    variance = tf.matmul(tf.square(centred), mean_of)
    return centred * tf.math.rsqrt(variance + epsilon) * gamma + beta


def _dense(tensor: tf.Tensor, layer: tuple[tf.Variable, tf.Variable], products: tf.DType) -> Any:
    kernel, bias = layer
    product = tf.matmul(tf.cast(tensor, products), tf.cast(kernel, products))
    return tf.nn.bias_add(product, tf.cast(bias, products))


def _activate(tensor: tf.Tensor, activation: str) -> tf.Tensor:
    if activation == "relu":
        return tf.nn.relu(tensor)
    return tf.nn.gelu(tensor, approximate=activation == "gelu_new")
