"""Pre-trained TF Hub text encoders under Keras 3: labelled text in, a measured model out.

Names are loaded when they are used, so that `import tfhub_transfer` costs nothing and TensorFlow is
imported by those who need it; in a notebook with the first name, without its log.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "CATALOGUE": "tfhub_transfer.encoders.catalogue",
    "Classifier": "tfhub_transfer.training.classifier",
    "Config": "tfhub_transfer.config",
    "DataConfig": "tfhub_transfer.config",
    "DistillationConfig": "tfhub_transfer.config",
    "EncoderConfig": "tfhub_transfer.config",
    "EvaluationConfig": "tfhub_transfer.config",
    "ExportConfig": "tfhub_transfer.artifact.settings",
    "HeadConfig": "tfhub_transfer.config",
    "HubLayer": "tfhub_transfer.encoders.layer",
    "MlmConfig": "tfhub_transfer.pretraining.mlm.settings",
    "NnlmConfig": "tfhub_transfer.pretraining.nnlm.settings",
    "Predictor": "tfhub_transfer.artifact.predictor",
    "Run": "tfhub_transfer.runs",
    "SearchConfig": "tfhub_transfer.training.search_settings",
    "SwivelConfig": "tfhub_transfer.pretraining.swivel.settings",
    "TrainingConfig": "tfhub_transfer.config",
    "TransferError": "tfhub_transfer.errors",
    "TuneConfig": "tfhub_transfer.training.search_settings",
    "WordProbe": "tfhub_transfer.encoders.probes",
    "audit": "tfhub_transfer.artifact.audit",
    "export_run": "tfhub_transfer.artifact.writer",
    "load_data": "tfhub_transfer.data.splits:load",
    "plot_style": "tfhub_transfer.evaluation.style",
    "pretrain_mlm": "tfhub_transfer.pretraining.mlm.run:train",
    "pretrain_nnlm": "tfhub_transfer.pretraining.nnlm.run:train",
    "pretrain_swivel": "tfhub_transfer.pretraining.swivel.run:train",
    "resolve": "tfhub_transfer.encoders.resolve",
    "result_table": "tfhub_transfer.evaluation.report",
    "run_experiment": "tfhub_transfer.evaluation.experiment",
    "score_run": "tfhub_transfer.evaluation.scoring",
    "search": "tfhub_transfer.evaluation.search.running",
}

__all__ = [
    "CATALOGUE",
    "Classifier",
    "Config",
    "DataConfig",
    "DistillationConfig",
    "EncoderConfig",
    "EvaluationConfig",
    "ExportConfig",
    "HeadConfig",
    "HubLayer",
    "MlmConfig",
    "NnlmConfig",
    "Predictor",
    "Run",
    "SearchConfig",
    "SwivelConfig",
    "TrainingConfig",
    "TransferError",
    "TuneConfig",
    "WordProbe",
    "audit",
    "export_run",
    "load_data",
    "plot_style",
    "pretrain_mlm",
    "pretrain_nnlm",
    "pretrain_swivel",
    "resolve",
    "result_table",
    "run_experiment",
    "score_run",
    "search",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if "ipykernel" in sys.modules and "tensorflow" not in sys.modules:
        # the log of TensorFlow's start would stand below a notebook's first cell
        importlib.import_module("tfhub_transfer.cli").import_tensorflow()
    module, _, attribute = _PUBLIC[name].partition(":")
    return getattr(importlib.import_module(module), attribute or name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
