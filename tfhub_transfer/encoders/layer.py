"""A TF Hub SavedModel as a Keras 3 layer."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import keras
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the ops that preprocessors use)

from tfhub_transfer.config import EncoderConfig
from tfhub_transfer.encoders.depth import level_of, number_of_layers
from tfhub_transfer.encoders.first_layers import first_layers
from tfhub_transfer.encoders.loaded import (
    adopted_variables,
    checksum,
    draws_repeatably,
    in_a_replica,
    load,
    takes_training,
)
from tfhub_transfer.encoders.packing import (
    Truncation,
    check_limit,
    pack,
    pieces,
    special_tokens,
    without_common_padding,
)
from tfhub_transfer.encoders.pooling import chosen, like_the_whole
from tfhub_transfer.encoders.resolve import Encoder, resolve
from tfhub_transfer.errors import EncoderError

__all__ = ["HubLayer"]


@keras.saving.register_keras_serializable("tfhub_transfer")
class HubLayer(keras.layers.Layer):
    """Texts to vectors, with the variables of the SavedModel as this layer's weights.

    The layer adopts the loaded object's own variables: a training step moves them. It serialises
    the encoder's handle, never a path, and stores only the weights that differ from the encoder's
    own, since the handle brings those back.

    Input is string[B], or for a transformer also the dict its preprocessor gives, so that a
    pipeline may tokenise ahead of the model.

    Args:
        encoder: a name, handle or path, as `encoders.resolve` takes it, or what that returned.
        output: `pooled` gives [B, D]; `sequence` gives a transformer's [B, S, D], with zeros at
            the padding, which `keras.layers.Masking` recognises.
        trainable: whether weights move; a frozen layer also runs without dropout.
        moving: of a trainable layer, a regular expression for the paths of the weights that move.
        layers: of a transformer, use only this many of its first layers. The last of them is
            pooled as the encoder pools its own, without a pooler; weights above it do not move.
        max_tokens: of a transformer, how many tokens of a text it reads, special ones included;
            the preprocessor's own limit when not given.
        truncation: with `max_tokens`, what is left of a longer text, as `packing.pack` takes it.
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
        output: Literal["pooled", "sequence"] = "pooled",
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
        if output not in ("pooled", "sequence"):
            raise EncoderError(f"output must be 'pooled' or 'sequence'. Received: {output!r}")
        self.encoder = (
            encoder if isinstance(encoder, Encoder) else resolve(encoder, offline=offline)
        )
        self.output_kind = output
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
        # In the SavedModel's order, which `variables` does not keep when flags change.
        self._adopted = adopted_variables(self.model)
        self.movable = [weight for weight in self._adopted if weight.trainable]
        self.depth = number_of_layers(weight.path for weight in self.movable)
        self.max_tokens, self.truncation = max_tokens, truncation
        if max_tokens is not None:
            check_limit(max_tokens, self._adopted, self._preprocess, self.encoder.handle)
            self._special = special_tokens(self._preprocess, self.encoder.handle)
        self._left_out: list[keras.Variable] = []
        self.layers, self.pooling = layers, pooling
        if layers is not None:
            self._cut(layers)
        if pooling != "published":
            self._replace_pooling(pooling)
        self._own_checksums = [checksum(weight) for weight in self._adopted]
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
        return f"{self.encoder.fingerprint}{layers}{tokens}{pooling}"

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

    def _leave_out(self, weights: Iterable[keras.Variable]) -> None:
        """Let weights have no part in the training, for they have none in the output."""
        left_out = {id(weight) for weight in weights}
        self._left_out = [*self._left_out, *(w for w in self.movable if id(w) in left_out)]
        self.movable = [w for w in self.movable if id(w) not in left_out]

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
        """Return float[B, D], or float[B, S, D] for the sequence output, in the compute dtype."""
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
            inputs: string[B], or a transformer's tokens.
            training: whether dropout is applied.
            precision: of the matrix products.
        """
        call: dict[str, Any] = {"training": training, "precision": precision}
        if self._preprocess is not None and not isinstance(inputs, dict):
            inputs = self.preprocess(inputs)
            if training:
                inputs = without_common_padding(inputs)
        if self._preprocess is None:
            return self._outputs(inputs, **call)
        mask = inputs["input_mask"]
        if self.layers is not None:
            with tf.init_scope():  # not within the graph that is being traced
                encode = self._first_layers(**call)
            sequence = encode(inputs)
        else:
            outputs = self._outputs(inputs, **call)
            if self.output_kind == "pooled" and self.pooling == "published":
                return outputs["pooled_output" if "pooled_output" in outputs else "default"]
            sequence = outputs["sequence_output"]
        if self.output_kind == "pooled":
            return self._pool(sequence, mask)
        return sequence * tf.cast(mask, tf.float32)[..., None]

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> keras.KerasTensor:
        """Return the symbolic output, so that building a model needs no call of the encoder."""
        del training
        if not isinstance(inputs, dict) and len(inputs.shape) != 1:
            raise EncoderError(
                f"Texts should be string[B], as keras.Input((), dtype='string') declares them. "
                f"Received: {inputs.dtype}{list(inputs.shape)}"
            )
        batch = (inputs["input_word_ids"] if isinstance(inputs, dict) else inputs).shape[0]
        shape = (batch, self.width) if self.output_kind == "pooled" else (batch, None, self.width)
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    @property
    def trainable(self) -> bool:
        """Whether weights move; of those that can, `moving` says which do."""
        return bool(keras.layers.Layer.trainable.fget(self))

    @trainable.setter
    def trainable(self, value: bool) -> None:
        # A model around this layer sets the flag on all its layers, and that must not let weights
        # move that `moving` holds still.
        keras.layers.Layer.trainable.fset(self, value)
        self._set_flags()

    def _set_flags(self) -> None:
        """Bring the weights' own flags in line with `trainable` and `moving`.

        Not left to the setter alone: TensorFlow's `__setattr__` passes over a value that is set
        already.
        """
        for weight in getattr(self, "movable", ()):
            weight.trainable = self.trainable and bool(re.search(self.moving, weight.path))
        for weight in getattr(self, "_left_out", ()):  # Keras' setter has set these too
            weight.trainable = False

    def move(self, pattern: str) -> list[str]:
        """Let the weights move whose path matches a regular expression, and only those.

        Args:
            pattern: searched for in the path; `layer_5|pooler` takes the last layer of six.

        Returns:
            The paths of the weights that now move.

        Raises:
            EncoderError: none matches.
        """
        paths = [weight.path for weight in self.movable]
        moving = [path for path in paths if re.search(pattern, path)]
        if not moving:
            raise EncoderError(
                f"No weight of {self.encoder.handle} that can be trained matches. It has "
                f"{len(paths)}: {', '.join(paths[:6])}{', ...' if len(paths) > 6 else ''}. "
                f"Received: {pattern!r}"
            )
        self.moving = pattern
        self.trainable = True
        self._set_flags()
        return moving

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

    def _with_checksums(self) -> zip[tuple[keras.Variable, bytes]]:
        return zip(self._adopted, self._own_checksums, strict=True)

    def save_own_variables(self, store: Any) -> None:
        """Store the weights that differ from the encoder's own."""
        for index, (weight, own) in enumerate(self._with_checksums()):
            if checksum(weight) != own:
                store[str(index)] = weight.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Take stored weights, and the encoder's own where none is stored."""
        pristine = None
        for index, (weight, own) in enumerate(self._with_checksums()):
            if str(index) in store:
                weight.assign(store[str(index)])
            elif checksum(weight) != own:
                pristine = pristine or load(self.encoder.path)
                weight.assign(pristine.variables[index])
