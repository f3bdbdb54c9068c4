"""The encoder cache: directories that are whole or absent, with a manifest to prove it.

    <cache_dir>/
      <sha1 of a handle>/    fetched; named as tensorflow_hub names them, so that both share a cache
      built/<name>/          made by `python -m tfhub_transfer.encoders build`
      packaged/<sha256>/     unpacked from an archive that ships in this package
      local/<fingerprint>/   a local encoder that came in a bundle
      local/<fingerprint>.txt  where on this machine a local encoder was last seen

A directory is one SavedModel, or a transformer's pair of them in `preprocess/` and `encoder/`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import platformdirs

from tfhub_transfer.errors import CorruptEncoderError, DownloadError, EncoderError

__all__ = [
    "MANIFEST",
    "cache_dir",
    "fingerprint",
    "locked",
    "replacing",
    "room",
    "savedmodels",
    "sums",
    "verify",
]

MANIFEST = ".manifest.json"  # lies inside the directory, so that one rename publishes both

# What decides a SavedModel's outputs. The rest (readme, Keras metadata, our manifest) may change.
_DECISIVE = ("saved_model.pb", "saved_model.pbtxt", "variables/", "assets/")
_SHARD = re.compile(r"variables\.data-\d{5}-of-(?P<total>\d{5})")
_MB = 1e6


def cache_dir() -> Path:
    """Return `$TFHUB_CACHE_DIR`, which tensorflow_hub uses too, or the user's cache folder."""
    named = os.environ.get("TFHUB_CACHE_DIR")
    if named:
        return Path(named).expanduser().absolute()
    return Path(platformdirs.user_cache_dir("tfhub_transfer")) / "encoders"


def savedmodels(directory: Path) -> dict[str, Path]:
    """Return the SavedModels that belong in a directory, by their place in it.

    Returns:
        `{"encoder": ..., "preprocess": ...}` where one of these folders is there, as in a
        transformer's directory, else `{"": directory}`.
    """
    pair = {part: directory / part for part in ("encoder", "preprocess")}
    single = _has_graph(directory) or not any(part.is_dir() for part in pair.values())
    return {"": directory} if single else pair


def verify(directory: Path, *, deep: bool = False) -> None:
    """Check that an encoder's files are all there.

    Where a manifest lies in the directory, every file in it must exist with its size. Without one,
    as in a directory that tensorflow_hub fetched, the graph and all shards of the variables must
    be there and not be empty; a shard cut short is not noticed then.

    Args:
        directory: a SavedModel, or a pair of them.
        deep: also compare every file's SHA-256 with the manifest.

    Raises:
        CorruptEncoderError: a file is missing, truncated or, with `deep`, altered.
    """
    for fault in _faults(directory, deep):
        raise CorruptEncoderError(f"{fault} Received: {directory}")


def fingerprint(models: dict[str, Path]) -> str:
    """Return one SHA-256 over the names and contents of all files that decide the outputs.

    Args:
        models: SavedModels by their place in the encoder, as `savedmodels` returns them. The
            places go into the result, the paths do not.
    """
    digest = hashlib.sha256()
    for place, model in sorted(models.items()):
        for path in _files(model):
            relative = path.relative_to(model).as_posix()
            if relative.startswith(_DECISIVE):
                # no file name holds a NUL, so that no two file trees give one stream
                digest.update(f"{sha256(path)} {place}/{relative}\0".encode())
    return digest.hexdigest()


def sums(directory: Path) -> dict[str, dict[str, Any]]:
    """Return `{relative name: {"size": bytes, "sha256": hex}}` of every file but the manifest."""
    return {
        path.relative_to(directory).as_posix(): {
            "size": path.stat().st_size,
            "sha256": sha256(path),
        }
        for path in _files(directory)
        if path.name != MANIFEST
    }


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def locked(target: Path) -> Iterator[None]:
    """Hold `target` against other processes, which wait until it is let go.

    The lock belongs to the process, so that a killed one leaves nothing to clean up by hand.

    Raises:
        EncoderError: the cache cannot be written to.
    """
    # not <target>.lock: tensorflow_hub takes the mere presence of that file for a running download
    lock = filelock.FileLock(target.parent / f".{target.name}.lock")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise EncoderError(
            f"The encoder cache cannot be written to ({error.strerror or error}). Set "
            f"TFHUB_CACHE_DIR to a folder that can. Received: {target.parent}"
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def replacing(target: Path, handle: str) -> Iterator[Path]:
    """Yield an empty directory that becomes `target`, manifest included, if nothing failed.

    The caller holds `locked(target)`. What was at `target` is gone afterwards.

    Args:
        target: where the directory will be.
        handle: what it is, for a person who looks into the cache.

    Raises:
        CorruptEncoderError: what was written is no complete SavedModel or pair of them.
    """
    # under the lock, whatever bears these names was left by a process that was killed
    for leftover in target.parent.glob(f".{target.name}.*.partial"):
        shutil.rmtree(leftover)
    scratch = Path(
        tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".partial")
    )
    try:
        fresh = scratch / "new"
        fresh.mkdir()
        yield fresh
        (fresh / MANIFEST).unlink(missing_ok=True)  # what comes from elsewhere has no say in it
        for fault in _faults(fresh, deep=False):
            raise CorruptEncoderError(f"{fault} Received: {handle}")
        manifest = {"handle": handle, "files": sums(fresh)}
        (fresh / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        # a directory cannot be renamed onto one with files in it, so the old one steps aside
        if target.exists():
            target.rename(scratch / "old")
        fresh.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def room(directory: Path, needed: int) -> Iterator[None]:
    """Refuse at once what cannot fit on the disk, and explain a disk that fills up on the way.

    Args:
        directory: where it will be written.
        needed: bytes.

    Raises:
        DownloadError: there is not enough room.
    """
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise _full(directory, needed)
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(directory, needed) from error
        raise


def _full(directory: Path, needed: int) -> DownloadError:
    free = shutil.disk_usage(directory).free
    return DownloadError(
        f"The disk is full: {needed / _MB:.1f} MB needed. Free some, or set TFHUB_CACHE_DIR to "
        f"another disk. Received: {free / _MB:.1f} MB left in {directory}"
    )


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def _faults(directory: Path, deep: bool) -> Iterator[str]:
    """Yield what is wrong with an encoder's directory, a sentence each."""
    try:
        manifest = _read_manifest(directory)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        yield f"The manifest cannot be read ({error})."
        return
    for relative, (size, checksum) in manifest.items():
        path = directory / relative
        if not path.is_file():
            yield f"{relative} is missing."
        elif path.stat().st_size != size:
            yield f"{relative} has {path.stat().st_size} bytes, and had {size} when installed."
        elif deep and (received := sha256(path)) != checksum:
            yield f"{relative} has sha256 {received}, and had {checksum} when installed."
    for place, model in savedmodels(directory).items():
        prefix = f"{place}/" if place else ""
        if not _has_graph(model):
            yield f"{prefix}saved_model.pb is missing or empty."
        yield from (f"{prefix}{fault}" for fault in _variables_faults(model / "variables"))


def _has_graph(model: Path) -> bool:
    graphs = (model / "saved_model.pb", model / "saved_model.pbtxt")
    return any(path.is_file() and path.stat().st_size for path in graphs)


def _variables_faults(variables: Path) -> Iterator[str]:
    index = variables / "variables.index"
    if not index.is_file() or not index.stat().st_size:
        yield "variables/variables.index is missing or empty."
        return
    shards = [
        match
        for path in variables.iterdir()
        if (match := _SHARD.fullmatch(path.name)) and path.stat().st_size
    ]
    wanted = max((int(match["total"]) for match in shards), default=1)
    if len(shards) != wanted:
        yield f"variables/ has {len(shards)} non-empty shards of {wanted}."


def _read_manifest(directory: Path) -> dict[str, tuple[int, str]]:
    """Return size and SHA-256 of each file; nothing where tensorflow_hub made the directory."""
    path = directory / MANIFEST
    if not path.exists():
        return {}
    files = json.loads(path.read_text(encoding="utf-8"))["files"]
    return {name: (int(file["size"]), str(file["sha256"])) for name, file in files.items()}
