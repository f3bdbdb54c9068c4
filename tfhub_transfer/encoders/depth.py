"""Which layer of a transformer a weight belongs to, read from its path."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["level_of", "number_of_layers"]

_NUMBER = re.compile(r"(?:^|/)layer_(\d+)(?:/|$)")


def number_of_layers(paths: Iterable[str]) -> int:
    """Return how many layers weights of these paths make up; 0 for a text embedding.

    The paths are those of this package's BERTs (`layer_3/attention/qkv/kernel`) and of TF Hub's
    (`transformer/layer_3/self_attention/query/kernel`).
    """
    numbers = [int(found[1]) for path in paths if (found := _NUMBER.search(path))]
    return 1 + max(numbers, default=-1)


def level_of(path: str, layers: int) -> int:
    """Return the layer that a weight belongs to, from 0.

    Embeddings lie below the first layer, at -1. Whatever else has no number lies above the last
    one, at `layers`: the pooler.
    """
    if found := _NUMBER.search(path):
        return int(found[1])
    return -1 if "embedding" in path else layers
