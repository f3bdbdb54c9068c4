"""What an export can be told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tfhub_transfer.checks import at_least, within
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.registry import FORMATS


@dataclass(frozen=True)
class ExportConfig:
    """What is exported, how its answers are decided, and which server it is for.

    Attributes:
        run: the directory of a finished run.
        name: of the served model; the run directory's own when not given.
        directory: where models lie; a version is written to DIRECTORY/NAME/VERSION.
        version: its number, higher than those before; one more than the last when not given.
        calibrate: divide a classifier's logits by a temperature fitted on the validation split, so
            that probabilities mean what they say; `--no-calibrate` leaves them. A tagger's scores
            are its own.
        reject_precision: of a classifier, answer `unknown` below a score that is chosen on the
            validation split so that the other answers are right this often.
        format: also convert the artifact of a classifier: `tflite`, `onnx`.
        quantize: store the weights of a converted artifact in 8 bits (dynamic range).
        audit: the directory of an artifact, or any SavedModel, whose ops are checked; nothing is
            exported.
        serving_version: the TensorFlow Serving release that the artifact is for.
        allow_unservable: export even ops that this release refuses.
    """

    run: str | None = None
    name: str | None = None
    directory: str = "saved_models"
    version: int | None = None
    calibrate: bool = True
    reject_precision: float | None = None
    format: tuple[str, ...] = ()
    quantize: bool = False
    audit: str | None = None
    serving_version: str = "2.19"
    allow_unservable: bool = False

    def __post_init__(self) -> None:
        if (self.run is None) == (self.audit is None):
            raise ConfigError(
                "Give --run, a run directory to export, or --audit, a SavedModel to check. "
                f"Received: {'both' if self.run else 'neither'}"
            )
        if self.run is not None:
            object.__setattr__(self, "name", self.name or Path(self.run).resolve().name)
        if self.name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise ConfigError(
                f"A model's name is part of its address: letters, digits, '.', '_' and '-', a "
                f"letter or digit first. Received: --name {self.name!r}"
            )
        at_least("version", self.version, 1)
        if self.reject_precision is not None:
            within("reject_precision", self.reject_precision, 0.0, 1.0)
        for name in self.format:
            FORMATS.check(name)
