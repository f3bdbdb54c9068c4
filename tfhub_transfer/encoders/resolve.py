"""A name, a handle or a path -> an encoder's verified files on this machine."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable
from pathlib import Path

from tfhub_transfer.encoders.archive import unpack
from tfhub_transfer.encoders.catalogue import CATALOGUE, EncoderSpec, find
from tfhub_transfer.encoders.download import checksum_of, download, kaggle_model, mirrored
from tfhub_transfer.encoders.handles import (
    LOCAL,
    Encoder,
    built_dir,
    install,
    packaged_archive,
    place,
)
from tfhub_transfer.encoders.store import (
    cache_dir,
    fingerprint,
    locked,
    replacing,
    savedmodels,
    sha256,
    verify,
)
from tfhub_transfer.errors import (
    CorruptEncoderError,
    DownloadError,
    EncoderError,
    OfflineError,
    UnknownNameError,
)
from tfhub_transfer.registry import did_you_mean
from tfhub_transfer.runs import atomic_path

__all__ = ["Encoder", "built_dir", "cache_dir", "install", "resolve", "verify"]

_log = logging.getLogger(__name__)


def resolve(name: str | Path, *, offline: bool = False) -> Encoder:
    """Find an encoder, fetching it into the cache where it is not there, or not whole.

    Args:
        name: a name from the catalogue; a TF Hub or Kaggle handle; an http(s) address of an
            archive, with `#sha256=HEX` at its end to have it verified; the path of a SavedModel,
            or of a directory with a transformer's `preprocess/` and `encoder/`; or what
            `Encoder.handle` said. A name of the catalogue wins over a directory called like it,
            which is then reached as `./NAME`.
        offline: never open a socket.

    Returns:
        The encoder, its files verified to be there and of the right size.

    Raises:
        UnknownNameError: no such name; the text names the closest one.
        OfflineError: it would have to be fetched, and `offline` forbids it.
        DownloadError: the server's answer, or the connection, was no good.
        CorruptEncoderError: the files are damaged, and fetching them anew is not possible or did
            not help.
        EncoderError: a local or built encoder that is not on this machine.
    """
    if isinstance(name, Path):
        return _resolve_directory(name)
    if local := LOCAL.fullmatch(name):
        return _resolve_remembered(local)
    if spec := find(name):
        return _resolve_record(spec, offline)
    path = Path(name).expanduser()
    if path.exists():
        return _resolve_directory(path)
    if kaggle := kaggle_model(name):
        return _resolve_address(f"https://www.kaggle.com/models/{kaggle}", offline)
    if name.startswith(("http://", "https://")):
        return _resolve_address(name, offline)
    if "://" not in name and ("/" in name or "\\" in name):
        return _resolve_directory(path)
    raise UnknownNameError(
        f"Unknown encoder.{did_you_mean(name, CATALOGUE)} Accepted: a name that "
        f"`python -m tfhub_transfer.encoders list` shows, a TF Hub or Kaggle handle, an http(s) "
        f"address of a SavedModel archive, or the path of a SavedModel. Received: {name!r}"
    )


def _resolve_record(spec: EncoderSpec, offline: bool) -> Encoder:
    if spec.built:
        return _encoder(spec.name, _built(spec.name), spec)
    path = _fetched(spec.handle, spec.name, offline, twin=spec.kaggle)
    if spec.preprocess is None:
        return _encoder(spec.name, path, spec)
    return Encoder(spec.name, path, _fetched(spec.preprocess, spec.name, offline), spec)


def _resolve_address(handle: str, offline: bool) -> Encoder:
    checksum_of(handle)  # a malformed one is told before anything is fetched
    return _encoder(handle, _fetched(handle, handle, offline))


def _resolve_directory(path: Path) -> Encoder:
    """Take a directory as it is, and remember where the fingerprint was seen."""
    path = path.expanduser().absolute()
    if not path.is_dir():
        raise EncoderError(
            f"No such directory. A local encoder is a directory with saved_model.pb, or with "
            f"preprocess/ and encoder/, each a SavedModel. Received: {path}"
        )
    if (path / "config.yaml").exists() and (path / "module").is_dir():
        raise EncoderError(
            f"This is the run of a pre-training, and the encoder is what it wrote. "
            f"Accepted: {path / 'module'}. Received: {path}"
        )
    verify(path)
    handle = f"{path.resolve().name}@sha256:{fingerprint(savedmodels(path))}"
    # resolving works where the cache cannot be written to; only the memory is lost then
    with contextlib.suppress(OSError), atomic_path(_memory(handle)) as temporary:
        temporary.write_text(str(path), encoding="utf-8")
    return _encoder(handle, path)


def _resolve_remembered(local: re.Match[str]) -> Encoder:
    """Find a local encoder again, by the fingerprint a saved model stores."""
    handle, bundled = local[0], place(local[0])
    remembered = _memory(handle)
    path = bundled
    if not bundled.is_dir():
        path = Path(remembered.read_text(encoding="utf-8")) if remembered.exists() else bundled
    if not path.is_dir():
        gone = remembered.exists()
        seen = f"was in {path} and is not there" if gone else "is not known on this machine"
        raise EncoderError(
            f"This local encoder {seen}. Make it known with its path, once: "
            f"`python -m tfhub_transfer.encoders info PATH`. Received: {handle}"
        )
    verify(path)
    received = fingerprint(savedmodels(path))
    if received != local["fingerprint"]:
        raise CorruptEncoderError(
            f"The files in {path} are no longer those of {handle}. Make the right ones known with "
            f"`python -m tfhub_transfer.encoders info PATH`. Received: sha256:{received}"
        )
    return _encoder(handle, path)


def _memory(handle: str) -> Path:
    target = place(handle)
    return target.with_name(f"{target.name}.txt")


def _encoder(handle: str, directory: Path, spec: EncoderSpec | None = None) -> Encoder:
    models = savedmodels(directory)
    path = models.get("encoder", directory)
    return Encoder(handle, path, models.get("preprocess"), spec)


def _built(name: str) -> Path:
    """Return the directory of an encoder that this project ships, or builds on this machine."""
    archive = packaged_archive(name)
    if not archive.exists():
        target = built_dir(name)
        if not target.exists():
            raise EncoderError(
                f"This encoder is built on this machine, and was not yet: run `make minilm`, or "
                f"`python -m tfhub_transfer.encoders build {name} --checkpoint DIR`. "
                f"Received: {name!r}, looked for in {target}"
            )
        verify(target)
        return target
    expected = archive.with_name(f"{archive.name}.sha256").read_text(encoding="utf-8").split()[0]

    def fill(directory: Path) -> None:
        received = sha256(archive)
        if received != expected:
            raise CorruptEncoderError(
                f"The archive of {name} in this installation is damaged: reinstall the package. "
                f"Expected sha256 {expected}. Received: {received} for {archive}"
            )
        unpack(archive, directory, str(archive))

    # by the checksum, so that another version of the package unpacks its own
    return _filled(cache_dir() / "packaged" / expected, name, fill)


def _fetched(handle: str, name: str, offline: bool, twin: str | None = None) -> Path:
    """Return the directory of an http(s) handle, downloaded unless it is there and whole.

    Args:
        handle: what is downloaded.
        name: what the user called it.
        offline: raise instead of downloading.
        twin: the same encoder on Kaggle, asked when the handle's own server has no answer.
    """
    target = place(handle)
    if offline:
        if not target.exists():
            raise OfflineError(
                f"Not in the cache {cache_dir()}, and offline. On a machine with network, "
                f"`python -m tfhub_transfer.encoders fetch {name}` brings it into the cache and "
                f"`python -m tfhub_transfer.encoders bundle` packs it into a file; here, "
                f"`python -m tfhub_transfer.encoders fetch --from FILE` unpacks that. "
                f"Received: {handle}"
            )
        try:
            verify(target)
        except CorruptEncoderError as damage:
            raise CorruptEncoderError(
                f"The cached {handle} is damaged, and offline it cannot be fetched anew. {damage}"
            ) from damage
        return target

    def fill(directory: Path) -> None:
        # beside the directory that becomes the encoder, and gone with it if the process is killed
        archive = directory.with_name("archive")
        try:
            download(handle, archive)
        except DownloadError as error:
            # a mirror is named where other servers are not to be asked
            if twin is None or mirrored():
                raise
            _log.warning("%s Trying Kaggle: %s", error, twin)
            download(twin, archive)
        unpack(archive, directory, handle)

    return _filled(target, handle, fill)


def _filled(target: Path, handle: str, fill: Callable[[Path], None]) -> Path:
    """Return a verified directory, filled first if it is missing or damaged."""
    # a file can vanish under the check while another process replaces the directory
    with contextlib.suppress(CorruptEncoderError, FileNotFoundError):
        verify(target)
        return target
    with locked(target):
        try:
            verify(target)  # another process may have filled it while this one waited
        except CorruptEncoderError as damage:
            if target.exists():
                _log.warning("The cached %s is damaged and is replaced: %s", handle, damage)
            with replacing(target, handle) as directory:
                fill(directory)
    return target
