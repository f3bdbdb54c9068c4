"""Texts to the vectors of an encoder as it was published, whatever a run does to its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tfhub_transfer.config import EncoderConfig
from tfhub_transfer.encoders.bulk import BulkEncoder
from tfhub_transfer.encoders.cache import FeatureCache
from tfhub_transfer.encoders.layer import HubLayer


def published_vectors(config: EncoderConfig) -> Callable[[Sequence[str]], np.ndarray]:
    """Load an encoder and return a function from texts to its vectors, float32[n, D].

    Through the feature cache, unless `encoder.cache` is off.
    """
    layer = HubLayer.of(config)
    bulk = BulkEncoder(layer, config.precision)
    if not config.cache:
        return bulk
    cache = FeatureCache.open(layer.fingerprint, width=layer.width, precision=config.precision)
    return lambda texts: cache.read(cache.add([texts], bulk))
