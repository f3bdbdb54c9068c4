"""`saved_models/NAME/VERSION`: versions that only go up, and that nobody sees half written."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import filelock

from tfhub_transfer.errors import ArtifactError
from tfhub_transfer.runs import atomic_path

_WRITING = ".writing-"  # TensorFlow Serving passes over names that are no number
LARGEST_VERSION = 2**63 - 1  # TensorFlow Serving's int64
_LAST = ".last_version"  # versions stay used when their directory is deleted


def versions(directory: Path) -> list[int]:
    """Return the versions in a model's directory, in ascending order."""
    if not directory.is_dir():
        return []
    entries = (entry for entry in directory.iterdir() if entry.is_dir())
    return sorted(int(entry.name) for entry in entries if entry.name.isdecimal())


@contextlib.contextmanager
def new_version(directory: Path, wanted: int | None = None) -> Iterator[tuple[int, Path]]:
    """Yield a version's number and a path to write it to; it appears only if nothing failed.

    Files are flushed to disk before the version takes its name. What a killed export left behind
    is removed first.

    Args:
        directory: of the model; made where it is missing.
        wanted: the version's number; one more than the last when not given.

    Raises:
        ArtifactError: there is a version as high already, or another process is exporting.
    """
    directory.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(directory / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise ArtifactError(
            f"Another process is exporting a version of this model. Wait for it or give another "
            f"--name. Received: {directory}"
        ) from None
    try:
        for leftover in directory.glob(f"{_WRITING}*"):
            real = leftover.is_dir() and not leftover.is_symlink()
            shutil.rmtree(leftover) if real else leftover.unlink()
        number = _number(directory, wanted)
        scratch = Path(tempfile.mkdtemp(prefix=f"{_WRITING}{number}-", dir=directory))
        try:
            yield number, scratch / "version"
            _flush(scratch / "version")
            # first, for what fails after the rename has published the version already
            with atomic_path(directory / _LAST) as temporary:
                temporary.write_text(f"{number}\n")
            (scratch / "version").rename(directory / str(number))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    finally:
        lock.release()


def _number(directory: Path, wanted: int | None) -> int:
    # whatever has such a name, for a file would be in the way too
    taken = (int(entry.name) for entry in directory.iterdir() if entry.name.isdecimal())
    last = max([0, *taken])
    with contextlib.suppress(FileNotFoundError, ValueError):
        last = max(last, int((directory / _LAST).read_text()))
    if wanted is None and last < LARGEST_VERSION:
        return last + 1
    if wanted is None or wanted > LARGEST_VERSION:
        raise ArtifactError(
            f"A version is at most {LARGEST_VERSION}: servers pass over higher numbers. The last "
            f"of {directory} is {last}. Received: --version {wanted or last + 1}"
        )
    if wanted <= last:
        raise ArtifactError(
            f"Versions only go up, so that a server never takes an old one for a new one: the last "
            f"of {directory} is {last}. Received: --version {wanted}"
        )
    return wanted


def _flush(directory: Path) -> None:
    """Write through to the disk, files before the directories that name them."""
    for root, _, files in os.walk(directory, topdown=False):
        for name in [*(os.path.join(root, file) for file in files), root]:
            descriptor = os.open(name, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
