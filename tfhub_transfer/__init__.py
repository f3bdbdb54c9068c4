"""Pre-trained TF Hub text encoders under Keras 3: labelled text in, a measured model out.

Names are loaded when they are used, so that `import tfhub_transfer` costs nothing and TensorFlow is
imported by those who need it.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Classifier": "tfhub_transfer.training.classifier",
    "Config": "tfhub_transfer.config",
    "DataConfig": "tfhub_transfer.config",
    "EncoderConfig": "tfhub_transfer.config",
    "EvaluationConfig": "tfhub_transfer.config",
    "HeadConfig": "tfhub_transfer.config",
    "HubLayer": "tfhub_transfer.encoders.layer",
    "Run": "tfhub_transfer.runs",
    "TrainingConfig": "tfhub_transfer.config",
    "TransferError": "tfhub_transfer.errors",
    "load_data": "tfhub_transfer.data.splits:load",
    "resolve": "tfhub_transfer.encoders.resolve",
    "run_experiment": "tfhub_transfer.evaluation.experiment",
    "score_run": "tfhub_transfer.evaluation.scoring",
}

__all__ = [
    "Classifier",
    "Config",
    "DataConfig",
    "EncoderConfig",
    "EvaluationConfig",
    "HeadConfig",
    "HubLayer",
    "Run",
    "TrainingConfig",
    "TransferError",
    "load_data",
    "resolve",
    "run_experiment",
    "score_run",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    return getattr(importlib.import_module(module), attribute or name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
