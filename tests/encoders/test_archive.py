from __future__ import annotations

import contextlib
import io
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.encoders.hub_server import pack, pack_members, write_model
from tfhub_transfer.encoders.archive import unpack
from tfhub_transfer.errors import CorruptEncoderError

GRAPH = ("saved_model.pb", b"graph")


def unpack_bytes(archive: bytes, scratch: Path) -> list[str]:
    """Unpack into scratch/inside and return what is there then."""
    (scratch / "archive").write_bytes(archive)
    (scratch / "inside").mkdir(exist_ok=True)
    unpack(scratch / "archive", scratch / "inside", "the origin")
    return files_in(scratch / "inside")


def files_in(directory: Path) -> list[str]:
    return sorted(
        path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()
    )


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("compression", ["", "gz", "xz", "bz2"])
@pytest.mark.parametrize("root", [".", "nnlm", ""])
def test_at_the_root_or_in_one_folder(tmp_path: Path, compression: str, root: str) -> None:
    model = write_model(tmp_path / "model")
    archive = pack(model, compression, root)
    assert unpack_bytes(archive, tmp_path) == files_in(model)


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../outside", "a/../../outside", "a\\..\\outside", "C:/outside", "C:outside"],
)
def test_names_that_lead_outside_are_refused(tmp_path: Path, name: str) -> None:
    archive = pack_members(GRAPH, (name, b"evil"))
    with pytest.raises(CorruptEncoderError, match=r"write outside its folder.*Received: the orig"):
        unpack_bytes(archive, tmp_path)
    # all members are judged before the first is written
    assert files_in(tmp_path) == ["archive"]


@pytest.mark.parametrize(
    "member",
    [
        special("link", tarfile.SYMTYPE, "/etc"),
        special("link", tarfile.SYMTYPE, "../.."),
        special("link", tarfile.LNKTYPE, "../archive"),
        special("device", tarfile.CHRTYPE),
        special("pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda info: f"{info.name} {info.linkname}",
)
def test_links_and_devices_are_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    archive = pack_members(GRAPH, member, (f"{member.name}/file", b"through it"))
    with pytest.raises(CorruptEncoderError, match=f"link or device in it, '{member.name}'"):
        unpack_bytes(archive, tmp_path)
    assert files_in(tmp_path) == ["archive"]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(
                st.sampled_from(["..", ".", "", "a", "b", "C:", "a\\..\\..", "\x01", "/", "~"]),
                min_size=1,
                max_size=5,
            ).map("/".join)
            | st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
            st.sampled_from([tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE]),
            st.sampled_from(["..", "a", "/tmp", "../outside"]),
        ),
        max_size=4,
    )
)
def test_nothing_is_ever_written_outside(members: list[tuple[str, bytes, str]]) -> None:
    archive = pack_members(GRAPH, *(special(*member) for member in members))
    with TemporaryDirectory() as name:
        scratch = Path(name).resolve() / "scratch"
        scratch.mkdir()
        with contextlib.suppress(CorruptEncoderError):
            unpack_bytes(archive, scratch)
        # neither beside the folder nor, by a link in it, elsewhere
        assert sorted(path.name for path in scratch.iterdir()) == ["archive", "inside"]
        assert [path.name for path in scratch.parent.iterdir()] == ["scratch"]
        assert not any(path.is_symlink() for path in scratch.rglob("*"))


@pytest.mark.parametrize("compression", ["", "gz", "xz"])
@settings(max_examples=60, deadline=None)
@given(cut=st.floats(0, 0.999))
def test_a_truncated_archive_is_found_out(compression: str, cut: float) -> None:
    with TemporaryDirectory() as name:
        scratch = Path(name)
        whole = pack(write_model(scratch / "model"), compression)
        # tar fills its last record with zeros, which may be missing
        end = len(whole.rstrip(b"\0")) if not compression else len(whole)
        with pytest.raises(CorruptEncoderError, match="Received: the origin"):
            unpack_bytes(whole[: int(end * cut)], scratch)


@pytest.mark.parametrize(
    "members",
    [
        [GRAPH, ("a", b""), ("a/b", b"")],
        [GRAPH, ("a/b", b""), ("a", b"")],
    ],
)
def test_members_in_each_others_way(tmp_path: Path, members: list[tuple[str, bytes]]) -> None:
    with pytest.raises(CorruptEncoderError, match="Not a whole tar archive"):
        unpack_bytes(pack_members(*members), tmp_path)


def test_of_two_members_with_one_name_the_last_counts(tmp_path: Path) -> None:
    assert unpack_bytes(pack_members(GRAPH, ("saved_model.pb", b"2")), tmp_path) == [GRAPH[0]]
    assert (tmp_path / "inside/saved_model.pb").read_bytes() == b"2"


@pytest.mark.parametrize("compression", ["gz", "xz"])
def test_a_compressed_archives_checksum_is_compared(tmp_path: Path, compression: str) -> None:
    archive = bytearray(pack(write_model(tmp_path / "model"), compression))
    archive[-6] ^= 1  # gzip's checksum, or the end of xz
    with pytest.raises(CorruptEncoderError, match="Not a whole tar archive"):
        unpack_bytes(bytes(archive), tmp_path)


def test_what_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(CorruptEncoderError, match=r"Not a whole tar.*Accepted: tar, tar.gz"):
        unpack_bytes(b"<html>Sign in</html>", tmp_path)


def test_what_has_no_savedmodel(tmp_path: Path) -> None:
    with pytest.raises(CorruptEncoderError, match=r"No SavedModel.*and it holds a/b/saved_model"):
        unpack_bytes(pack_members(("a/b/saved_model.pb", b"")), tmp_path)
    with pytest.raises(CorruptEncoderError, match="and it holds no file"):
        unpack_bytes(pack_members(), tmp_path)


def test_modes_and_owners_stay_behind(tmp_path: Path) -> None:
    info = tarfile.TarInfo("saved_model.pb")
    info.mode, info.uid, info.size = 0o4777, 12345, 1
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(info, io.BytesIO(b"x"))
    unpack_bytes(buffer.getvalue(), tmp_path)
    written = (tmp_path / "inside/saved_model.pb").stat()
    assert not written.st_mode & 0o7111
    assert written.st_uid != 12345
