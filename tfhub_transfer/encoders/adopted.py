"""A layer's weights that are a SavedModel's own variables: which move, and which are stored."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import keras

from tfhub_transfer.encoders.loaded import adopted_variables, checksum, load
from tfhub_transfer.encoders.resolve import Encoder
from tfhub_transfer.errors import EncoderError

__all__ = ["AdoptedWeights"]


class AdoptedWeights(keras.layers.Layer):
    """The base of a layer around an encoder's SavedModel, with its variables as weights.

    Of a trainable layer those weights move whose path `moving` matches. A file gets those that
    differ from the encoder's own, since the encoder's handle brings these back.

    Attributes:
        encoder: whose variables they are.
        movable: the weights that can move and have a part in the output.
        moving: a regular expression for the paths of the weights that do, if the layer is
            trainable.
    """

    encoder: Encoder
    moving: str

    def _adopt(self, model: Any) -> None:
        """Take a loaded object's variables as weights."""
        # In the SavedModel's order, which `variables` does not keep when flags change.
        self._adopted = adopted_variables(model)
        self.movable = [weight for weight in self._adopted if weight.trainable]
        self._left_out: list[keras.Variable] = []
        self._own_checksums = [checksum(weight) for weight in self._adopted]

    def _leave_out(self, weights: Iterable[keras.Variable]) -> None:
        """Let weights have no part in the training, for they have none in the output."""
        left_out = {id(weight) for weight in weights}
        self._left_out = [*self._left_out, *(w for w in self.movable if id(w) in left_out)]
        self.movable = [w for w in self.movable if id(w) not in left_out]

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
