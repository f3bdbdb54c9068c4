"""keras-hub's BERT with its defaults: arguments CHECKPOINT."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"

from benchmarks.peers.worker import Loaded, serve


def load(arguments: list[str]) -> Loaded:
    """Build MiniLM's shape with random weights, behind the preprocessor with its defaults."""
    import keras
    import keras_hub

    (checkpoint,) = arguments
    tokenizer = keras_hub.models.BertTokenizer(str(Path(checkpoint) / "vocab.txt"), lowercase=True)
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(tokenizer)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=tokenizer.vocabulary_size(),
        num_layers=6,
        num_heads=12,
        hidden_dim=384,
        intermediate_dim=1536,
    )
    model = keras_hub.models.BertTextClassifier(backbone, num_classes=2, preprocessor=preprocessor)
    weights = backbone.count_params()
    return Loaded(
        encode=lambda texts: model.predict(texts, verbose=0),
        packages=("keras-hub", "keras", "tensorflow", "tensorflow-text"),
        note=f"`BertTextClassifier.predict(texts)`, {preprocessor.sequence_length} tokens, "
        f"{keras.config.floatx()}; MiniLM's shape ({weights / 1e6:.1f} million weights) with "
        f"random values, since speed does not depend on them",
        vectors=False,
    )


if __name__ == "__main__":
    serve(load)
