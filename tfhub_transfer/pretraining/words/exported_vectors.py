"""Word vectors as a module has them: of mean zero and mean square one."""

from __future__ import annotations

import numpy as np

__all__ = ["exported_vectors"]


def exported_vectors(vectors: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return vectors shifted and scaled to mean zero and mean square one over a corpus' words.

    A text's vector is the sum of its words' over the root of their number. In that a mean would be
    multiplied by this root, and say above all how long the text is. Without one, each dimension of
    a text's vector has a variance near one whatever the length, which is what the initial weights
    of a head are made for. A language model's hidden layer takes up shift and scale, and is as it
    was; to a word's neighbours by cosine, too, a mean says nothing.

    Args:
        vectors: float32[V + O, D].
        seen: int64[V + O], how often each was learnt from; where never, the result is zero, the
            vector of a word that says nothing.
    """
    shares = seen / seen.sum()
    centred = vectors - shares @ vectors
    scale = np.sqrt(shares @ np.square(centred).mean(axis=1))
    return np.where(seen[:, np.newaxis] > 0, centred / scale, 0.0).astype(np.float32)
