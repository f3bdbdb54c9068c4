"""A SavedModel out of a tar archive that nobody vouches for.

Only plain files and folders are taken, and only their bytes: no links, owners, modes or devices,
so that nothing in an archive can decide where or as whom it is written. All members are judged
before the first is written.
"""

from __future__ import annotations

import contextlib
import shutil
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from lzma import LZMAError
from pathlib import Path, PureWindowsPath
from typing import IO

from tfhub_transfer.encoders.store import room
from tfhub_transfer.errors import CorruptEncoderError

__all__ = ["is_safe", "open_archive", "open_member", "safe_files", "unpack"]


def unpack(archive: Path, into: Path, origin: str) -> None:
    """Write the SavedModel in an archive, or the transformer's pair of them, into a directory.

    It may lie at the archive's root, as TF Hub packs it, or in one folder there.

    Args:
        archive: a tar file, plain or compressed with gzip, bzip2 or xz.
        into: an existing directory.
        origin: where the archive came from, for error texts.

    Raises:
        CorruptEncoderError: it is no such archive, or truncated; a member would be written
            outside `into`, or is a link or device; or there is no SavedModel in it.
        DownloadError: the disk is full.
    """
    with open_archive(archive, origin) as tar:
        files = safe_files(tar, origin)
        root = _root(files, origin)
        wanted = {name[len(root) :]: info for name, info in files.items() if name.startswith(root)}
        with room(into, sum(info.size for info in wanted.values())):
            for name, info in wanted.items():
                target = into / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with open_member(tar, info) as source, target.open("xb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)


@contextlib.contextmanager
def open_archive(archive: Path, origin: str) -> Iterator[tarfile.TarFile]:
    """Open a tar file; bytes that are no tar, then or while reading, are a CorruptEncoderError."""
    try:
        with tarfile.open(archive) as tar:
            yield tar
    except (tarfile.TarError, EOFError, LZMAError, OSError, ValueError, zlib.error) as error:
        # what the system refuses has an errno, what a decompressor refuses has none
        if getattr(error, "errno", None) is not None and not isinstance(error, _CLASHES):
            raise
        reason = str(error).partition(":\n")[0]  # tarfile lists each format it tried
        raise CorruptEncoderError(
            f"Not a whole tar archive ({reason}). Accepted: tar, tar.gz, tar.bz2, tar.xz. "
            f"Received: {origin}"
        ) from error


def safe_files(tar: tarfile.TarFile, origin: str) -> dict[str, tarfile.TarInfo]:
    """Return an archive's files by their name, after judging every member.

    Of two members with one name the last one counts, as everywhere in tar.

    Raises:
        CorruptEncoderError: a member would be written outside the folder it is unpacked in, or is
            neither file nor folder; or the archive's end is missing.
    """
    files = {}
    for info in tar.getmembers():
        if not is_safe(info.name):
            raise CorruptEncoderError(
                f"Refused an archive that would write outside its folder, to {info.name!r}. "
                f"Received: {origin}"
            )
        if not (info.isfile() or info.isdir()):
            raise CorruptEncoderError(
                f"Refused an archive with a link or device in it, {info.name!r}: a SavedModel has "
                f"files and folders only. Received: {origin}"
            )
        if info.isfile():
            files["/".join(part for part in info.name.split("/") if part not in ("", "."))] = info
    _check_end(tar, origin)
    return files


def open_member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    """Return a file member's bytes, to read."""
    source = tar.extractfile(info)
    assert source is not None  # None is for folders and devices
    return source


def is_safe(name: str) -> bool:
    """Return whether a relative file name stays in its folder, on any system.

    The rules of Windows are applied everywhere: a backslash or a drive letter has no business in
    a SavedModel's file names either.
    """
    path = PureWindowsPath(name)
    return not path.anchor and ".." not in path.parts and "\\" not in name and "\0" not in name


# one member's file is another's folder, which only shows while writing
_CLASHES = (FileExistsError, NotADirectoryError, IsADirectoryError)


def _check_end(tar: tarfile.TarFile, origin: str) -> None:
    """Read on to the very end, where a tar has a block of zeros and a compressed file its checksum.

    tarfile stops before the latter, and takes a file that stops between two members for complete.
    """
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise CorruptEncoderError(
            f"The archive is truncated: its end is missing. Received: {origin}"
        )
    while tar.fileobj.read(1 << 20):
        pass


def _root(names: Iterable[str], origin: str) -> str:
    """Return `""`, or `"folder/"` where all that matters lies in one folder."""
    names = set(names)
    graphs = ("saved_model.pb", "encoder/saved_model.pb")
    for root in ("", *sorted({f"{name.partition('/')[0]}/" for name in names if "/" in name})):
        if any(root + graph in names for graph in graphs):
            return root
    shown = ", ".join(sorted(names)[:5]) or "no file"
    raise CorruptEncoderError(
        f"No SavedModel in the archive: saved_model.pb belongs at its root or in one folder there, "
        f"and it holds {shown}. Received: {origin}"
    )
