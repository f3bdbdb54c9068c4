"""Encoders in one file, for a machine without network.

A bundle is a plain tar:

    bundle.json                {"format": 1, "encoders": [name, ...], "directories": [
                                  {"handle": ..., "files": {name: {"size": ..., "sha256": ...}}}]}
    0/saved_model.pb           the files of directories[0]
    0/variables/...
    1/...

Where a directory goes follows from its handle alone, never from a path in the file.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from tfhub_transfer.encoders.archive import is_safe, open_archive, open_member, safe_files
from tfhub_transfer.encoders.handles import install, is_handle, sources
from tfhub_transfer.encoders.resolve import resolve
from tfhub_transfer.encoders.store import room, sums, verify
from tfhub_transfer.errors import CorruptEncoderError, EncoderError
from tfhub_transfer.runs import atomic_path

__all__ = ["bundle", "unbundle"]

FORMAT = 1
CONTENTS = "bundle.json"


@dataclass(frozen=True)
class _Directory:
    """One directory in a bundle: what it is, and size and SHA-256 of its files."""

    handle: str
    files: dict[str, dict[str, Any]]


def bundle(names: Sequence[str | Path], target: Path, *, offline: bool = False) -> None:
    """Pack encoders, fetched first where they are not in the cache.

    Encoders that ship in this package are listed in the bundle and take no room in it.

    Args:
        names: as `resolve` takes them.
        target: the file to write; seen whole or not at all.
        offline: never open a socket.

    Raises:
        EncoderError: no name, or one that `resolve` or a deep verification refuses.
        DownloadError: a download failed, or the disk is full.
    """
    if not names:
        raise EncoderError("A bundle needs at least one encoder's name. Received: none")
    encoders = [resolve(name, offline=offline) for name in names]
    paths = {handle: path for encoder in encoders for handle, path in sources(encoder).items()}
    for path in paths.values():
        verify(path, deep=True)
    directories = [_Directory(handle, sums(path)) for handle, path in paths.items()]
    contents = {
        "format": FORMAT,
        "encoders": [encoder.handle for encoder in encoders],
        "directories": [asdict(directory) for directory in directories],
    }
    target = Path(target).absolute()
    size = sum(file["size"] for directory in directories for file in directory.files.values())
    with (
        atomic_path(target) as temporary,
        room(target.parent, size),
        tarfile.open(temporary, "w") as tar,
    ):
        text = json.dumps(contents, indent=1).encode()
        _add(tar, CONTENTS, len(text), io.BytesIO(text))
        for number, directory in enumerate(directories):
            for name, recorded in directory.files.items():
                with (paths[directory.handle] / name).open("rb") as file:
                    _add(tar, f"{number}/{name}", recorded["size"], file)


def unbundle(archive: Path) -> list[str]:
    """Install a bundle's encoders in the cache, where `resolve` finds them without network.

    Each directory is installed whole or not at all, after its checksums were compared; what was
    in the cache under the same handle is replaced.

    Returns:
        The handles to resolve them by.

    Raises:
        EncoderError: there is no such file, or the cache cannot be written to.
        CorruptEncoderError: it is no bundle, or truncated, or a file has another checksum, or it
            would write outside its place.
        DownloadError: the disk is full.
    """
    archive = Path(archive)
    if not archive.is_file():
        raise EncoderError(
            f"No such bundle; `python -m tfhub_transfer.encoders bundle` writes one. "
            f"Received: {archive}"
        )
    with open_archive(archive, str(archive)) as tar:
        members = safe_files(tar, str(archive))
        encoders, directories = _read_contents(tar, members, archive)
        for number, directory in enumerate(directories):
            size = sum(file["size"] for file in directory.files.values())
            with install(directory.handle) as fresh, room(fresh, size):
                for name, recorded in directory.files.items():
                    received = _copy(tar, members.get(f"{number}/{name}"), fresh / name)
                    if received != recorded["sha256"]:
                        raise CorruptEncoderError(
                            f"{name} of {directory.handle} is damaged in the bundle {archive}. "
                            f"Expected sha256 {recorded['sha256']}. Received: {received}"
                        )
    return encoders


def _add(tar: tarfile.TarFile, name: str, size: int, source: IO[bytes]) -> None:
    info = tarfile.TarInfo(name)  # a fresh one says nothing about this machine: no owner, no date
    info.size = size
    tar.addfile(info, source)


def _copy(tar: tarfile.TarFile, member: tarfile.TarInfo | None, to: Path) -> str:
    """Write a member's bytes and return their SHA-256; `"no such file"` without a member."""
    if member is None:
        return "no such file"
    digest = hashlib.sha256()
    to.parent.mkdir(parents=True, exist_ok=True)
    with open_member(tar, member) as source, to.open("xb") as file:
        while chunk := source.read(1 << 20):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _read_contents(
    tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], archive: Path
) -> tuple[list[str], list[_Directory]]:
    """Return a bundle's encoders and directories.

    Raises:
        CorruptEncoderError: there is no list of contents that makes sense.
    """
    try:
        with open_member(tar, members[CONTENTS]) as file:
            contents = json.load(file)
        if contents["format"] != FORMAT:
            raise ValueError(f"format {contents['format']!r}")
        directories = [
            _Directory(
                entry["handle"],
                {
                    name: {"size": int(file["size"]), "sha256": str(file["sha256"])}
                    for name, file in entry["files"].items()
                },
            )
            for entry in contents["directories"]
        ]
        for directory in directories:
            if not is_handle(directory.handle):
                raise ValueError(f"handle {directory.handle!r}")
            if unsafe := [name for name in directory.files if not is_safe(name)]:
                raise ValueError(f"file name {unsafe[0]!r}")
        return [str(encoder) for encoder in contents["encoders"]], directories
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptEncoderError(
            f"Not a bundle that this version reads: its {CONTENTS} is missing or wrong "
            f"({type(error).__name__}: {error}). Accepted: format {FORMAT}. Received: {archive}"
        ) from error
