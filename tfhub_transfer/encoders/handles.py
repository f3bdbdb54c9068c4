"""What stands for an encoder in a file: its handle, and where in the cache that points.

Whatever a saved model stores about its encoder is an `Encoder.handle`, never a path:

    minilm-static, nnlm-en-dim50      a name of the catalogue
    https://...                       a TF Hub or Kaggle handle, or the address of an archive
    NAME@sha256:HEX                   a local directory, by its name and fingerprint
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tfhub_transfer.encoders.catalogue import CATALOGUE, EncoderSpec
from tfhub_transfer.encoders.store import cache_dir, fingerprint, locked, replacing

__all__ = [
    "LOCAL",
    "Encoder",
    "built_dir",
    "install",
    "is_handle",
    "packaged_archive",
    "place",
    "sources",
]

ASSETS = Path(__file__).parent / "assets"
LOCAL = re.compile(r"(?P<name>[^/\\]+)@sha256:(?P<fingerprint>[0-9a-f]{64})")


@dataclass(frozen=True)
class Encoder:
    """An encoder's files on this machine.

    Attributes:
        handle: what a configuration or a saved model may store; `resolve` takes it again.
        path: the SavedModel of a text embedding, or of a transformer's encoder.
        preprocess: the SavedModel of a transformer's preprocessing.
        spec: its record in the catalogue, if it has one.
    """

    handle: str
    path: Path
    preprocess: Path | None = None
    spec: EncoderSpec | None = None

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the names and contents of all files that decide the outputs."""
        if local := LOCAL.fullmatch(self.handle):
            return local["fingerprint"]  # resolve has just computed it
        return fingerprint(_parts(self.path, self.preprocess))

    @property
    def name(self) -> str:
        """A short name to show: the catalogue's, the folder's, or the end of the address."""
        if self.spec:
            return self.spec.name
        if local := LOCAL.fullmatch(self.handle):
            return local["name"]
        address = urllib.parse.urlsplit(self.handle)
        return "/".join(address.path.strip("/").split("/")[-2:]) or address.netloc


def sources(encoder: Encoder) -> dict[str, Path]:
    """Return the directories an encoder lies in, by the handles that `place` takes.

    There is none for an encoder that ships in this package.
    """
    spec = encoder.spec
    if spec and spec.preprocess and encoder.preprocess:
        return {spec.handle: encoder.path, spec.preprocess: encoder.preprocess}
    directory = encoder.path.parent if encoder.preprocess else encoder.path
    if spec and spec.built:
        return {} if packaged_archive(spec.name).exists() else {spec.name: directory}
    return {spec.handle if spec else encoder.handle: directory}


def place(handle: str) -> Path:
    """Return where in the cache the directory of a handle belongs.

    Args:
        handle: an http(s) handle, a built encoder's name, or NAME@sha256:HEX.
    """
    if local := LOCAL.fullmatch(handle):
        return cache_dir() / "local" / local["fingerprint"]
    if handle.startswith(("http://", "https://")):
        # tensorflow_hub's naming
        return cache_dir() / hashlib.sha1(handle.encode(), usedforsecurity=False).hexdigest()
    return built_dir(handle)


def is_handle(text: str) -> bool:
    """Return whether `place` takes this text."""
    is_built = text in CATALOGUE and CATALOGUE[text].built
    return is_built or bool(LOCAL.fullmatch(text)) or text.startswith(("http://", "https://"))


def built_dir(name: str) -> Path:
    """Return where an encoder that was built on this machine lies."""
    return cache_dir() / "built" / name


@contextlib.contextmanager
def install(handle: str) -> Iterator[Path]:
    """Yield an empty directory to write an encoder to; it is installed only if nothing failed.

    Args:
        handle: as `place` takes it.

    Raises:
        CorruptEncoderError: what was written is no complete SavedModel or pair of them.
        EncoderError: the cache cannot be written to.
    """
    target = place(handle)
    with locked(target), replacing(target, handle) as directory:
        yield directory


def packaged_archive(name: str) -> Path:
    """Return where this package has the archive of an encoder that ships in it."""
    return ASSETS / f"{name}.tar.xz"


def _parts(path: Path, preprocess: Path | None) -> dict[str, Path]:
    return {"encoder": path, "preprocess": preprocess} if preprocess else {"": path}
