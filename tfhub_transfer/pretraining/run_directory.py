"""The run directory of a pre-training: DIR/work, DIR/module and what every run has."""

from __future__ import annotations

import contextlib
import csv
import math
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from tfhub_transfer.errors import RunError, TrainingError, TransferError
from tfhub_transfer.pretraining.corpus.corpus import Corpus
from tfhub_transfer.pretraining.settings import PretrainingConfig
from tfhub_transfer.runs import Run, RunSettings, atomic_path

__all__ = ["PretrainingRun"]

_BEFORE = ".before"
_WRITING = ".writing-"


class PretrainingRun(Run):
    """One run directory; made by `PretrainingRun.begun`.

    Attributes:
        corpus: that is read; not of a run that is finished.
        work: for what is only made on the way, as counts and shards.
        module: where the pre-trained module ends up.
    """

    corpus: Corpus

    def __init__(self, path: Path):
        super().__init__(path)
        self.work = path / "work"
        self.module = path / "module"

    @classmethod
    @contextlib.contextmanager
    def begun(cls, config: PretrainingConfig) -> Iterator[PretrainingRun]:
        """Make the directory that `config` names, or go on in it, and hold it while in here.

        A run that is resumed and has been finished already has `finished` true: leave it as it is.
        What is overwritten is set aside, and comes back where the new run fails before its first
        checkpoint, as for a vocabulary that is too large.

        Raises:
            RunError: it is taken, locked, of other settings, or the corpus lies in it.
            DataError: the corpus is not there.
        """
        run = cls.create(config)
        with run.lock():
            begins = not (config.resume and run.config_file.exists())
            if not begins and run.finished:
                print(f"note: the run in {run.path} is finished already")
                run._clear(config.keep_work)
                yield run
                return
            # opened before what is overwritten is set aside
            run.corpus = Corpus(config.corpus, config.data.text_column, config.data.dir)
            if begins:
                run._check_apart()
                run._set_aside()
                run.write_config(config)
                run.write_environment(config.seed)
            run._remove_unfinished()
            run.work.mkdir(exist_ok=True)
            run.checkpoints.mkdir(exist_ok=True)
            try:
                yield run
            except TransferError:
                # what cannot work as it was asked for takes no place
                if begins and not any(run.checkpoints.iterdir()):
                    run.empty(keep=(_BEFORE,))
                    run._put_back()
                raise
            except KeyboardInterrupt:
                told = "what is done is kept: the same command with --resume goes on"
                print(told, file=sys.stderr)
                raise
            run._clear(keep_work=True)

    @classmethod
    def named_by(cls, config: RunSettings) -> PretrainingRun:
        """Return the run directory that `config` names, with what a kill left aside back in it."""
        run = cls(Path(config.run)) if config.run else None
        if run is not None and run._is_half_aside:
            with run.lock():
                if run._is_half_aside:
                    run._put_back()
        return cast("PretrainingRun", super().named_by(config))

    @property
    def _is_half_aside(self) -> bool:
        """Whether a kill came between setting aside and beginning."""
        return (self.path / _BEFORE).exists() and not self.config_file.exists()

    def _check_apart(self) -> None:
        """Raise if the corpus is in what is overwritten."""
        own = self.path.resolve()
        if inside := [part.name for part in self.corpus.parts if own in Path(part.name).parents]:
            raise RunError(
                f"The corpus lies in the run directory, which --overwrite empties. Give another "
                f"--run, or move the corpus. Received: {', '.join(inside)}"
            )

    def _set_aside(self) -> None:
        aside = self.path / _BEFORE
        if aside.exists():  # a run that was killed had set it aside
            self.empty(keep=(_BEFORE,))
            return
        aside.mkdir()
        # config.yaml first, and back last: it is missing as long as either is not over
        for entry in sorted(self.path.iterdir(), key=lambda entry: entry.name != "config.yaml"):
            if entry.name not in (".lock", _BEFORE):
                entry.rename(aside / entry.name)

    def _put_back(self) -> None:
        aside = self.path / _BEFORE
        for entry in sorted(aside.iterdir(), key=lambda entry: entry.name == "config.yaml"):
            target = self.path / entry.name
            if target.is_dir():  # of a new run that could not be deleted
                shutil.rmtree(target)
            entry.replace(target)
        aside.rmdir()

    def _remove_unfinished(self) -> None:
        """Remove the files and directories that a kill left half written."""
        folders = (self.path, self.checkpoints)
        left = [entry for folder in folders for entry in folder.glob(f"{_WRITING}*")]
        for entry in [*left, *self.work.rglob(f"{_WRITING}*")]:
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)

    def _clear(self, keep_work: bool) -> None:
        """Delete what a run that is whole has no need of."""
        shutil.rmtree(self.path / _BEFORE, ignore_errors=True)
        if not keep_work:
            shutil.rmtree(self.work, ignore_errors=True)

    @property
    def finished(self) -> bool:
        """Whether everything is written."""
        return self.metrics_file.exists()

    @contextlib.contextmanager
    def writing_module(self) -> Iterator[Path]:
        """Yield an empty directory, which becomes `module` if nothing failed."""
        with tempfile.TemporaryDirectory(dir=self.path, prefix=_WRITING) as temporary:
            target = Path(temporary) / "module"
            target.mkdir()
            yield target
            shutil.rmtree(self.module, ignore_errors=True)
            target.replace(self.module)

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write `history.csv` anew; its columns are the first row's keys."""
        with atomic_path(self.history_file) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]) if rows else [])
            writer.writeheader()
            writer.writerows(rows)

    def check_loss(self, loss: float | None, step: int, advice: str) -> None:
        """Raise if `loss` is no number.

        Args:
            loss: of step number `step`, counted from one; None of nothing.
            step: as it is told.
            advice: what usually helps.

        Raises:
            TrainingError: it is no number.
        """
        if loss is not None and not math.isfinite(loss):
            raise TrainingError(
                f"The loss is no number any more in step {step}; what was saved last is in "
                f"{self.checkpoints}, if that is not empty. {advice} usually helps. "
                f"Received: {loss}"
            )

    def finish(self, metrics: Mapping[str, Any], *, keep_work: bool) -> None:
        """Write `metrics.json`, last of all, and delete what is not needed any more."""
        self.write_json("metrics.json", dict(metrics))
        self._clear(keep_work)
