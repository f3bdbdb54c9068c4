"""A TF Hub SavedModel as a Keras 3 layer."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Literal

import keras
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the ops that preprocessors use)

from tfhub_transfer.config import EncoderConfig
from tfhub_transfer.encoders.adopted import AdoptedWeights
from tfhub_transfer.encoders.depth import level_of, number_of_layers
from tfhub_transfer.encoders.first_layers import first_layers
from tfhub_transfer.encoders.loaded import (
    draws_repeatably,
    in_a_replica,
    load,
    takes_training,
)
from tfhub_transfer.encoders.packing import (
    Truncation,
    limit_of,
    pack,
    pieces,
    special_tokens,
    without_common_padding,
)
from tfhub_transfer.encoders.pooling import chosen, like_the_whole
from tfhub_transfer.encoders.resolve import Encoder, resolve
from tfhub_transfer.encoders.word_pieces import WordPieces
from tfhub_transfer.encoders.word_shapes import SHAPES_DIGEST
from tfhub_transfer.encoders.word_vectors import (
    WORD_OUTPUTS,
    EmbeddedWords,
    TransformerWords,
    WordOutput,
    check_form,
    check_words,
)
from tfhub_transfer.encoders.words import Splitting
from tfhub_transfer.errors import EncoderError

__all__ = ["HubLayer"]


@keras.saving.register_keras_serializable("tfhub_transfer")
class HubLayer(AdoptedWeights):
    """Texts to vectors, with the variables of the SavedModel as this layer's weights.

    The layer adopts the loaded object's own variables: a training step moves them. It serialises
    the encoder's handle, never a path, and stores only the weights that differ from the encoder's
    own, since the handle brings those back.

    Input is string[B], or for a transformer also the dict its preprocessor gives, so that a
    pipeline may tokenise ahead of the model. For the vectors of words it may also be the dict of
    `question` and `context`, string[B] each: the words are those of the context, read together
    with the question.

    Words, of which `split_words` says what they are, have the vector of their first word piece.
    Where a text has more pieces than the encoder takes (`max_tokens`, or all positions that it has
    learnt), it is read in windows that overlap by a quarter, none of which tears a word apart.
    A text embedding looks each word up as a text of its own.

    Args:
        encoder: a name, handle or path, as `encoders.resolve` takes it, or what that returned.
        output: `pooled` gives [B, D]; `sequence` gives a transformer's [B, S, D], with zeros at
            the padding, which `keras.layers.Masking` recognises. `words` gives [B, W, D], a vector
            for each word, and `text_and_words` [B, 1 + W, D], the pooled one in front of them; of
            several windows it is the mean. With a question, `words` is [B, 1 + W, D] too, in front
            the vector of the first token, which no answer points at. W is the number of words of
            the longest text, at least 1. Behind the words are zeros, again for
            `keras.layers.Masking`; no word has a vector of zeros. There is no `compute_mask`.
        words: what parts words, as `split_words` takes it.
        word_shapes: whether the vector of each word ends with its shape, as `word_shapes` has it.
        trainable: whether weights move; a frozen layer also runs without dropout.
        moving: of a trainable layer, a regular expression for the paths of the weights that move.
        layers: of a transformer, use only this many of its first layers. The last of them is
            pooled as the encoder pools its own, without a pooler; weights above it do not move.
        max_tokens: of a transformer, how many tokens of a text it reads, special ones included;
            the preprocessor's own limit when not given.
        truncation: with `max_tokens`, what is left of a longer text, as `packing.pack` takes it;
            of no use where words are asked for, as all of them are read.
        pooling: how a transformer's tokens become the `pooled` output: `published` as its own,
            `mean` or `max` over the tokens that are no padding, or the `first` token. With these a
            pooler has no part in it, and does not move.
        offline: never open a socket to find the encoder.
        **kwargs: of `keras.layers.Layer`.

    Raises:
        EncoderError: the SavedModel has no such output, no such layers, no tokens to pool or no
            room for so many, or is no TF Hub text encoder.
    """

    def __init__(
        self,
        encoder: str | Path | Encoder,
        *,
        output: Literal["pooled", "sequence"] | WordOutput = "pooled",
        words: Splitting = "spaces",
        word_shapes: bool = False,
        trainable: bool = False,
        moving: str = ".*",
        layers: int | None = None,
        max_tokens: int | None = None,
        truncation: Truncation = "head",
        pooling: Literal["published", "mean", "max", "first"] = "published",
        offline: bool = False,
        **kwargs: Any,
    ):
        super().__init__(trainable=trainable, **kwargs)
        if output not in ("pooled", "sequence", *WORD_OUTPUTS):
            raise EncoderError(
                f"output must be 'pooled', 'sequence', 'words' or 'text_and_words'. "
                f"Received: {output!r}"
            )
        check_words(output, words, word_shapes, truncation)
        self.encoder = (
            encoder if isinstance(encoder, Encoder) else resolve(encoder, offline=offline)
        )
        self.output_kind, self.words, self.word_shapes = output, words, word_shapes
        self.offline = offline
        if output == "sequence" and self.encoder.preprocess is None:
            raise EncoderError(
                f"Only a transformer has a sequence output, and {self.encoder.handle} is a text "
                f"embedding: one vector per text. Use output='pooled'. Received: {output!r}"
            )
        self.supports_jit = False  # XLA has no strings, and Keras turns it on where a GPU is
        self._preprocess = load(self.encoder.preprocess) if self.encoder.preprocess else None
        self.model = load(self.encoder.path)
        self._takes_training = takes_training(self.model)
        self._adopt(self.model)
        self.depth = number_of_layers(weight.path for weight in self.movable)
        self.max_tokens, self.truncation = max_tokens, truncation
        if max_tokens is not None or (output in WORD_OUTPUTS and self._preprocess is not None):
            limit = limit_of(max_tokens, self._adopted, self._preprocess, self.encoder.handle)
            self._special = special_tokens(self._preprocess, self.encoder.handle)
        self.by_word: TransformerWords | EmbeddedWords | None = None
        if output in WORD_OUTPUTS and self._preprocess is None:
            self.by_word = EmbeddedWords(self._outputs, words, output, word_shapes)
        elif output in WORD_OUTPUTS:
            handle = self.encoder.handle
            pieces_of = WordPieces(self._preprocess, self._special, limit, words, handle)
            self.by_word = TransformerWords(
                pieces_of, self._token_outputs, self._pooled, output, word_shapes
            )
        self.layers, self.pooling = layers, pooling
        if layers is not None:
            self._cut(layers)
        if pooling != "published":
            self._replace_pooling(pooling)
        elif output == "words":
            self._leave_out(w for w in self.movable if "pooler" in w.path)
        self.precision = "float32"  # of the products in training; `train_in` changes it
        self.moving = moving
        if trainable:
            self.move(moving)
        else:
            self._set_flags()
        self.width = self._probe_width()
        self.built = True

    @classmethod
    def of(cls, config: EncoderConfig, **kwargs: Any) -> HubLayer:
        """Return the encoder that `config` asks for.

        Args:
            config: of the encoder.
            **kwargs: further arguments of the constructor.
        """
        return cls(
            config.name,
            layers=config.layers,
            max_tokens=config.max_tokens,
            truncation=config.truncation,
            pooling=config.pooling,
            offline=config.offline,
            **kwargs,
        )

    @property
    def fingerprint(self) -> str:
        """What the vectors are a function of: the encoder's fingerprint, the cuts, the pooling."""
        layers = "" if self.layers is None else f"-{self.layers}-layers"
        tokens = "" if self.max_tokens is None else f"-{self.max_tokens}-{self.truncation}"
        pooling = "" if self.pooling == "published" else f"-{self.pooling}-pooled"
        words = f"-{self.output_kind}-by-{self.words}" if self.output_kind in WORD_OUTPUTS else ""
        shapes = f"-shapes-{SHAPES_DIGEST}" if self.word_shapes else ""
        return f"{self.encoder.fingerprint}{layers}{tokens}{pooling}{words}{shapes}"

    @property
    def loaded(self) -> list[Any]:
        """The SavedModels as TensorFlow loaded them: the encoder, after its preprocessor if any."""
        return [self.model] if self._preprocess is None else [self._preprocess, self.model]

    def _cut(self, layers: int) -> None:
        """Put the first layers in the place of the whole encoder."""
        if not 1 <= layers <= self.depth:
            has = f"has {self.depth} layers" if self.depth else "is a text embedding without layers"
            raise EncoderError(
                f"{self.encoder.handle} {has}: encoder.layers takes the first ones of a "
                f"transformer. Received: {layers}"
            )
        if self.pooling == "published":
            self._pool = like_the_whole(
                lambda tokens: in_a_replica(lambda: self._outputs(tokens)), self.preprocess
            )
        # one for each way of calling the encoder, made when it is used
        self._first_layers = functools.cache(
            lambda **call: first_layers(lambda tokens: self._outputs(tokens, **call), layers)
        )
        self._leave_out(w for w in self.movable if level_of(w.path, self.depth) >= layers)
        self.depth = layers

    def _replace_pooling(self, pooling: str) -> None:
        """Pool the sequence output otherwise than the encoder does."""
        self._pool = chosen(pooling, self.output_kind, self._preprocess, self.encoder.handle)
        self._leave_out(w for w in self.movable if "pooler" in w.path)

    def _probe_width(self) -> int:
        try:
            shape = in_a_replica(lambda: self.vectors(tf.constant(["a"]))).shape
        except (ValueError, TypeError, KeyError, AttributeError, tf.errors.OpError) as error:
            raise self._not_an_encoder(f"calling it failed with {error}") from error
        if shape.rank != (2 if self.output_kind == "pooled" else 3):
            raise self._not_an_encoder(f"an output of shape {shape} for one text")
        return int(shape[-1])

    def _not_an_encoder(self, received: str) -> EncoderError:
        return EncoderError(
            f"{self.encoder.handle} is no TF Hub text encoder: it should map string[B] to "
            f"float32[B, D], alone or after a preprocessor. Received: {received}"
        )

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Return float[B, D], or three axes for the other outputs, in the compute dtype."""
        training = bool(training) and self.trainable
        precision = self.precision if training else "float32"
        vectors = self.vectors(inputs, training=training, precision=precision)
        if not self.trainable:
            vectors = tf.stop_gradient(vectors)
        return tf.cast(vectors, self.compute_dtype)

    def preprocess(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return a transformer's token ids, mask and types, int32[B, S], for string[B]."""
        if self._preprocess is None:
            raise EncoderError(
                f"A text embedding takes text as it is. Received: {self.encoder.handle}"
            )
        if self.max_tokens is not None:
            tokenized = pieces(self._preprocess.tokenize(texts))
            return pack(tokenized, self._special, self.max_tokens, self.truncation)
        tokens: dict[str, tf.Tensor] = self._preprocess(texts)
        return tokens

    def cut_questions(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Return int32[B], how many word pieces of each question there was no room for.

        A question is cut, from its end, where it does not fit together with its context and takes
        more than half of the room.

        Args:
            inputs: `question` and `context`, string[B] each.

        Raises:
            EncoderError: the layer takes no questions.
        """
        check_form(inputs, self.by_word, self.output_kind)
        return self.by_word.cut(inputs)

    def _outputs(self, inputs: Any, *, training: bool = False, precision: str = "float32") -> Any:
        """Call the loaded object."""
        if precision == "bfloat16":
            if training:
                return self.model.train_bfloat16(inputs)
            return self.model.encode_bfloat16(inputs)
        return self.model(inputs, **({"training": training} if self._takes_training else {}))

    def vectors(
        self, inputs: Any, *, training: bool = False, precision: str = "float32"
    ) -> tf.Tensor:
        """Return the encoder's own float32 output, whatever this layer's dtype policy.

        Args:
            inputs: string[B], or a transformer's tokens, or `question` and `context`.
            training: whether dropout is applied.
            precision: of the matrix products.
        """
        call: dict[str, Any] = {"training": training, "precision": precision}
        check_form(inputs, self.by_word, self.output_kind)
        if self.by_word is not None:
            return self.by_word(inputs, **call)
        if self._preprocess is None:
            return self._outputs(inputs, **call)
        if not isinstance(inputs, dict):
            inputs = self.preprocess(inputs)
            if training:
                inputs = without_common_padding(inputs)
        outputs = self._token_outputs(inputs, **call)
        if self.output_kind == "pooled":
            return self._pooled(outputs, inputs)
        return outputs["sequence_output"] * tf.cast(inputs["input_mask"], tf.float32)[..., None]

    def _token_outputs(self, tokens: dict[str, tf.Tensor], **call: Any) -> Any:
        """Return a transformer's outputs, of its first layers only the sequence."""
        if self.layers is None:
            return self._outputs(tokens, **call)
        with tf.init_scope():  # not within the graph that is being traced
            encode = self._first_layers(**call)
        return {"sequence_output": encode(tokens)}

    def _pooled(self, outputs: Any, tokens: dict[str, tf.Tensor]) -> tf.Tensor:
        if self.layers is None and self.pooling == "published":
            return outputs["pooled_output" if "pooled_output" in outputs else "default"]
        return self._pool(outputs["sequence_output"], tokens["input_mask"])

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> keras.KerasTensor:
        """Return the symbolic output, so that building a model needs no call of the encoder."""
        del training
        parts = list(inputs.values()) if isinstance(inputs, dict) else [inputs]
        check_form(inputs, self.by_word, self.output_kind)
        for texts in parts:
            if texts.dtype == "string" and len(texts.shape) != 1:
                raise EncoderError(
                    f"Texts should be string[B], as keras.Input((), dtype='string') declares them. "
                    f"Received: {texts.dtype}{list(texts.shape)}"
                )
        batch = parts[0].shape[0]
        shape = (batch, self.width) if self.output_kind == "pooled" else (batch, None, self.width)
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def train_in(self, precision: Literal["float32", "bfloat16"]) -> None:
        """Choose the precision of the matrix products in training, gradients included.

        Weights stay float32, and so do norms, softmax and residual stream. It is no part of the
        model: a saved one computes in float32, whatever it was trained in.

        Raises:
            EncoderError: bfloat16 was asked for and the SavedModel has no function for it.
        """
        if precision == "bfloat16" and not hasattr(self.model, "train_bfloat16"):
            older = hasattr(self.model, "encode_bfloat16")
            advice = "build it anew, for an older version built it, or use" if older else "use"
            raise EncoderError(
                f"{self.encoder.handle} has no function for training with bfloat16 products: "
                f"transformers that `python -m tfhub_transfer.encoders build` made have. Accepted: "
                f"{advice} --training.precision float32. Received: {precision!r}"
            )
        self.precision = precision

    @property
    def repeatable(self) -> bool:
        """Whether training the SavedModel twice can give the same weights.

        Those that draw dropout masks without a seed, as TF Hub's BERTs do, cannot, and TensorFlow
        refuses to run them where it was told to be deterministic.
        """
        return draws_repeatably(self.encoder.path)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, the encoder as its handle."""
        return {
            **super().get_config(),
            "encoder": self.encoder.handle,
            "output": self.output_kind,
            "words": self.words,
            "word_shapes": self.word_shapes,
            "trainable": self.trainable,
            "moving": self.moving,
            "layers": self.layers,
            "max_tokens": self.max_tokens,
            "truncation": self.truncation,
            "pooling": self.pooling,
            "offline": self.offline,
        }

    def copy(self) -> HubLayer:
        """Return a layer like this one, with variables of its own, wherever these are made.

        That is on each device where a `tf.distribute` strategy is in scope.
        """
        config = {**self.get_config(), "encoder": self.encoder, "trainable": False}
        other = HubLayer.from_config(config)
        other.train_in(self.precision)
        if self.trainable:
            other.move(self.moving)
        for weight, own in zip(self._adopted, other._adopted, strict=True):
            own.assign(weight)
        return other

