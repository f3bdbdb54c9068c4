"""A finished run -> a version that TensorFlow Serving loads: all of `tfhub_transfer.export`."""

from __future__ import annotations

import contextlib
import datetime
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfhub_transfer.artifact import audit, verification
from tfhub_transfer.artifact.conversion import Conversion
from tfhub_transfer.artifact.model_card import ModelCard, write_model_card
from tfhub_transfer.artifact.predictor import Predictor
from tfhub_transfer.artifact.releases import find_release
from tfhub_transfer.artifact.serving_files import write_serving_files
from tfhub_transfer.artifact.settings import ExportConfig
from tfhub_transfer.artifact.sizing import measure
from tfhub_transfer.artifact.task import TaskExport
from tfhub_transfer.artifact.version_directory import new_version
from tfhub_transfer.artifact.warmup import write_warm_up
from tfhub_transfer.errors import ArtifactError
from tfhub_transfer.progress import progress
from tfhub_transfer.registry import EXPORTS, FORMATS
from tfhub_transfer.runs import Run, config_from_dict, environment
from tfhub_transfer.training.classifier import Classifier


@dataclass(frozen=True)
class Export:
    """What an export wrote.

    Attributes:
        path: of the version.
        metrics: what `metrics.json` holds there.
        conversions: to other formats, those that were asked for.
        kept: deployment files that somebody has changed, and that were left as they are.
    """

    path: Path
    metrics: dict[str, Any]
    conversions: tuple[Conversion, ...]
    kept: tuple[Path, ...]


def export_run(config: ExportConfig) -> Export:
    """Write a version of a run's model, checked, and beside it what a deployment needs.

    Args:
        config: with `run` given.

    Raises:
        UnknownNameError: no such TensorFlow Serving release.
        RunError: the run is not finished, or damaged.
        AuditError: the server would refuse the model.
        ArtifactError: it cannot be written as asked, or does not answer as the trained one.
        ConversionError: it cannot be converted as asked; then no version is written either.
    """
    find_release(config.serving_version)  # a wrong one is better known now than after the work
    run, name = Run.open(str(config.run)), str(config.name)
    described = run.load_metrics()
    task: TaskExport = EXPORTS.load(config_from_dict(run.load_config()).task)(run, config)
    directory = Path(config.directory) / name
    conversions: list[Conversion] = []
    steps = 4 + len(config.format)
    with progress(f"Exporting {name}: loading", "steps", steps) as advance:
        classifier = Classifier.load(run)
        advance(1, f"Exporting {name}: writing")
        with (
            _explained(directory),
            _withdrawn(conversions),
            new_version(directory, config.version) as (number, path),
        ):
            weights = task.save(classifier, path)
            warm_up = write_warm_up(path, task.texts, name=name, second=task.second)
            if not config.allow_unservable:
                audit.check(path, config.serving_version)
            advance(1, f"Exporting {name}: checking in a fresh process")
            expected = task.expected(classifier)
            parity = verification.verify(path, expected)
            advance(1, f"Exporting {name}: measuring batches")
            sizing = measure(Predictor.load(path), task.texts, splitting=task.splitting)
            metrics = {
                "task": described["task"],
                "name": name,
                "version": number,
                "created": datetime.datetime.now(datetime.timezone.utc).isoformat("T", "seconds"),
                "run": run.path.name,
                "serving_version": config.serving_version,
                "audited": not config.allow_unservable,
                "labels": described["labels"],
                **task.facts(described),
                "parity": {"texts": _texts(expected), "difference": parity},
                "size": {"bytes": _bytes(path), "weights_bytes": weights},
                "warm_up_requests": warm_up,
                "batching": sizing.to_dict(),
                "test": described["test"],
                "environment": environment(),
            }
            Run(path).write_json("metrics.json", metrics)
            write_model_card(path / "model_card.md", _card(classifier, run, described, metrics))
            for format in config.format:
                advance(1, f"Exporting {name}: converting to {format}")
                target = directory / format / str(number)
                # of a killed export: this version was never published
                shutil.rmtree(target, ignore_errors=True)
                convert = FORMATS.load(format)
                conversions.append(convert(path, task.texts, target, quantize=config.quantize))
        advance(1, f"Exporting {name}")
    try:
        kept = write_serving_files(
            directory,
            name,
            sizing,
            version=number,
            example=task.example,
            serving_version=config.serving_version,
            size_bytes=metrics["size"]["bytes"],
        )
    except OSError as error:
        raise ArtifactError(
            f"The version is written, {directory / str(number)}, but the files of its deployment "
            f"are not ({error.strerror}). Received: {error.filename}"
        ) from error
    return Export(directory / str(number), metrics, tuple(conversions), kept)


@contextlib.contextmanager
def _withdrawn(conversions: Sequence[Conversion]) -> Iterator[None]:
    """Leave no conversion behind of a version that could not be published."""
    try:
        yield
    except BaseException:
        for conversion in conversions:
            shutil.rmtree(conversion.file.parent, ignore_errors=True)
        raise


def _texts(expected: Sequence[verification.Expected]) -> int:
    return len({text for one in expected for text in one.texts})


def _card(
    classifier: Classifier, run: Run, described: dict[str, Any], metrics: dict[str, Any]
) -> ModelCard:
    encoder = classifier.encoder.encoder
    return ModelCard(
        name=metrics["name"],
        version=metrics["version"],
        date=metrics["created"][:10],
        serving_version=metrics["serving_version"],
        metrics=described,
        config=run.load_config(),
        encoder=encoder.name,
        encoder_handle=encoder.handle,
        encoder_licence=described["encoder_licence"],
        languages=encoder.spec.languages if encoder.spec else (),
        max_tokens=_most_tokens(classifier),
        calibration=metrics.get("calibration", {}),
        size_bytes=metrics["size"]["bytes"],
        weights_bytes=metrics["size"]["weights_bytes"],
        parity=metrics["parity"]["difference"],
        parity_texts=metrics["parity"]["texts"],
        warm_up_requests=metrics["warm_up_requests"],
        packages=metrics["environment"]["packages"],
        data_summary=described["data_summary"],
    )


def _most_tokens(classifier: Classifier) -> int | None:
    """Return how many tokens of a text a transformer reads; a text embedding reads all of it."""
    if classifier.encoder.encoder.preprocess is None:
        return None
    longest = classifier.encoder.preprocess(tf.constant(["a " * 20_000]))
    return int(tf.shape(longest["input_word_ids"])[1])


def _bytes(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


@contextlib.contextmanager
def _explained(directory: Path) -> Iterator[None]:
    """Turn what a full or forbidden disk raises, in Python or in TensorFlow, into one sentence."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ArtifactError(
            f"The version could not be written, and nothing of it is left behind ({reason}). "
            f"Received: {directory}"
        ) from error
