"""The run directory: its layout, its lock, and files that are never seen half written."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import os
import platform
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import filelock
import yaml

from tfhub_transfer.config import Config, WeightGroup
from tfhub_transfer.dotted import flat
from tfhub_transfer.errors import RunError


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a path beside `target` to write to; it takes `target`'s name only if nothing failed.

    The file is flushed to disk before the rename, so that a power cut leaves the old file or the
    new one. The temporary keeps `target`'s suffixes, which some writers look at.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        dir=target.parent, prefix=".writing-", suffix="".join(target.suffixes)
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        # mkstemp makes files private to the user; give them what a plain open() would have given
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


class RunSettings(Protocol):
    """What a run has to know of its settings, whatever it does."""

    @property
    def run(self) -> str | None:
        """Its directory; named by date and time when not given."""

    @property
    def resume(self) -> bool:
        """Whether to continue the run in that directory."""

    @property
    def overwrite(self) -> bool:
        """Whether to empty that directory."""

    @property
    def seed(self) -> int:
        """Of every random choice."""

    def to_dict(self) -> dict[str, Any]:
        """Return all settings as plain dicts, lists and scalars."""


class Run:
    """One run directory; made by `Run.create` or `Run.open`."""

    def __init__(self, path: Path):
        self.path = path
        self.config_file = path / "config.yaml"
        self.metrics_file = path / "metrics.json"
        self.history_file = path / "history.csv"
        self.report_file = path / "report.html"
        self.rejected_file = path / "rejected.jsonl"
        self.model_file = path / "model.keras"
        self.plots = path / "plots"
        self.checkpoints = path / "checkpoints"
        self.logs = path / "logs"

    @classmethod
    def create(cls, config: RunSettings) -> Run:
        """Make the directory that `config` names, or accept the one that is there, as it is.

        Raises:
            RunError: it is taken, as `named_by` says.
        """
        run = cls.named_by(config)
        run.path.mkdir(parents=True, exist_ok=True)
        return run

    @classmethod
    def named_by(cls, config: RunSettings) -> Run:
        """Return the run directory that `config` names, which need not be there yet.

        Raises:
            RunError: it holds something already and neither `resume` nor `overwrite` was asked
                for; or it is to be overwritten and does not look like a run; or it is to be
                resumed with other settings than it was begun with.
        """
        path = Path(config.run or f"runs/{time.strftime('%Y%m%d-%H%M%S')}")
        run = cls(path)
        if path.exists() and not path.is_dir():
            raise RunError(f"The run directory must not be a file. Received: {path}")
        # a command that failed before it trained, as one with a mistyped column, takes no place
        names = {entry.name for entry in path.iterdir()} if path.exists() else set()
        # and a config.yaml alone may be somebody's own, which is not ours to replace
        theirs = "config.yaml" in names and "environment.json" not in names
        taken = theirs or not names <= _BEFORE_TRAINING
        if taken and config.overwrite:
            if not run.config_file.exists():
                raise RunError(
                    f"--overwrite empties only a directory with a run's config.yaml in it, "
                    f"and there is none. Received: {path}"
                )
            if (path / SEARCH_SETTINGS).exists():
                raise RunError(
                    f"--overwrite would delete the search in this directory, with all of its "
                    f"trials. Give another --run. Received: {path}"
                )
        elif taken and not config.resume and not run.config_file.exists():
            raise RunError(
                f"The directory is not empty, and holds no run that could be resumed or "
                f"overwritten. Give another --run. Received: {path}"
            )
        elif taken and not config.resume:
            raise RunError(
                f"The run directory is not empty. Give another --run, or --resume to continue "
                f"the run in it, or --overwrite to begin anew. Received: {path}"
            )
        elif config.resume:
            run._check_resumable(config)
        return run

    def begin(self, config: RunSettings) -> None:
        """Write what a run begins with, with the lock held; what it overwrites is deleted here.

        Rejected rows stay: a run that is overwritten is whole until the new data, which writes
        them, is loaded.
        """
        if config.overwrite:
            self.empty(keep=(self.rejected_file.name,))
        self.write_config(config)
        self.write_environment(config.seed)

    def empty(self, keep: Collection[str] = ()) -> None:
        """Delete what is in the directory, with the lock held.

        Args:
            keep: names of what stays there.
        """
        for entry in self.path.iterdir():
            if entry.name in (".lock", *keep):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Return the run in `path`.

        Raises:
            RunError: there is no `config.yaml` in it.
        """
        run = cls(Path(path))
        if (run.path / SEARCH_SETTINGS).exists() and not run.config_file.exists():
            raise RunError(
                f"The search in this directory has not trained its best settings yet; go on with "
                f"`python -m tfhub_transfer.tune --config "
                f"{shlex.quote(str(run.path / SEARCH_SETTINGS))} "
                f"--run {shlex.quote(str(run.path))} --resume`. Received: {path}"
            )
        if not run.config_file.exists():
            raise RunError(
                f"Not a run directory: a run has a config.yaml, as `python -m tfhub_transfer.train "
                f"--run DIR` writes it. Received: {path}"
            )
        return run

    def _check_resumable(self, config: RunSettings) -> None:
        if not self.config_file.exists():
            raise RunError(f"Nothing to resume: no config.yaml in the directory. "
                           f"Received: {self.path}")
        begun, wanted = flat(self.load_config()), settings_of(config)
        changed = sorted(key for key in wanted if begun.get(key) != wanted[key])
        if changed:
            details = "; ".join(
                f"{key} was {begun.get(key)!r}, received {wanted[key]!r}" for key in changed
            )
            raise RunError(
                f"A run is resumed with the settings it was begun with: add --config "
                f"{self.config_file}, or leave out what differs. Received: {details}"
            )

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory against other processes.

        Raises:
            RunError: another process holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise RunError(
                f"Another process is working in this run directory. Wait for it or give another "
                f"--run. Received: {self.path}"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def load_config(self) -> dict[str, Any]:
        """Return `config.yaml` as plain dicts.

        Raises:
            RunError: it is damaged.
        """
        try:
            loaded = yaml.safe_load(self.config_file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise RunError(
                f"The run's configuration is no YAML: {error}. Received: {self.config_file}"
            ) from error
        if not isinstance(loaded, dict):
            raise RunError(
                f"The run's configuration should hold settings by name. "
                f"Received: {loaded!r} in {self.config_file}"
            )
        return loaded

    def load_metrics(self) -> dict[str, Any]:
        """Return `metrics.json`.

        Raises:
            RunError: the run was not finished, or the file is damaged.
        """
        if not self.metrics_file.exists():
            raise RunError(
                f"The run is not finished: it has no metrics.json. Continue it with "
                f"`python -m tfhub_transfer.train --config {self.config_file} --run {self.path} "
                f"--resume`. Received: {self.path}"
            )
        try:
            loaded = json.loads(self.metrics_file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(
                f"The run's metrics cannot be read ({error}). Received: {self.metrics_file}"
            ) from error
        if not isinstance(loaded, dict):
            raise RunError(
                f"The run's metrics should be values by name. Received: {loaded!r} in "
                f"{self.metrics_file}"
            )
        return loaded

    def write_config(self, config: RunSettings) -> None:
        """Write the resolved configuration as `config.yaml`, which repeats the run from anew."""
        settings = {**config.to_dict(), "resume": False, "overwrite": False}
        self.write_text("config.yaml", as_yaml(settings))

    def write_environment(self, seed: int) -> None:
        """Write `environment.json`: package versions, seed and hardware."""
        self.write_json("environment.json", {"seed": seed, **environment()})

    def write_json(self, name: str, value: Any) -> None:
        """Write `value` as indented JSON under `name`, atomically."""
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        # a confusion matrix of 150 classes would be 22,000 lines: one line for a list of numbers
        text = re.sub(r"\[[-\d\s,.e]*\]", lambda found: re.sub(r"\s+", " ", found[0]), text)
        self.write_text(name, text + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write `text` in UTF-8 under `name`, atomically."""
        with atomic_path(self.path / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


# The settings of a search, in the directory of its best run.
SEARCH_SETTINGS = Path("search", "search.yaml")
# What a run writes before its first epoch is whole.
_BEFORE_TRAINING = {".lock", "config.yaml", "environment.json", "rejected.jsonl"}


def environment() -> dict[str, Any]:
    """Return the versions and the hardware that a result depends on."""
    packages = ["tensorflow", "tensorflow-text", "tensorflow-hub", "keras", "numpy", "pyarrow",
                "scikit-learn", "tfhub-transfer"]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "packages": installed_versions(packages),
    }


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each package that is installed here."""
    versions = {}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def as_yaml(settings: Mapping[str, Any]) -> str:
    """Return settings as a configuration file has them, in their own order."""
    return str(yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True))


def settings_of(config: RunSettings) -> dict[str, Any]:
    """Return the settings that change what a run computes, by dotted name."""
    settings = flat(config.to_dict())
    return {key: settings[key] for key in settings if key not in ("run", "resume", "overwrite")}


def config_from_dict(values: dict[str, Any]) -> Config:
    """Rebuild a Config from `Run.load_config()`'s dicts; settings it lacks take their default.

    Raises:
        RunError: it holds settings that this version does not have.
    """
    defaults = Config()
    if unknown := sorted(flat(values).keys() - flat(defaults.to_dict()).keys()):
        raise RunError(
            f"There is no setting {', '.join(unknown)}: the run is of another version. "
            f"Received: {values}"
        )
    changes = {
        key: dataclasses.replace(getattr(defaults, key), **_typed(value))
        if isinstance(value, dict)
        else value
        for key, value in values.items()
    }
    return dataclasses.replace(defaults, **changes)


def _typed(values: dict[str, Any]) -> dict[str, Any]:
    """Return a section's values as its dataclass holds them."""
    typed = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    if "groups" in typed:
        typed["groups"] = tuple(WeightGroup(**group) for group in typed["groups"])
    return typed
