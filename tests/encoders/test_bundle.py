from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.encoders.hub_server import pack, pack_members, write_model, write_pair
from tfhub_transfer.encoders import handles
from tfhub_transfer.encoders.bundle import bundle, unbundle
from tfhub_transfer.encoders.catalogue import CATALOGUE
from tfhub_transfer.encoders.handles import install, place
from tfhub_transfer.encoders.resolve import resolve, verify
from tfhub_transfer.errors import (
    CorruptEncoderError,
    EncoderError,
    OfflineError,
    UnknownNameError,
)

BERT = "small-bert-l2-h128-a2"
ADDRESS = "https://example.org/models/lengths/1"


@pytest.fixture(autouse=True)
def to_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Begin on the machine "connected"; a call goes over to another one, with its own cache."""

    def go(machine: str) -> None:
        monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / machine))

    go("connected")
    return go


@pytest.fixture
def names(tmp_path: Path) -> list[str]:
    """One encoder of each kind, all in the cache."""
    spec = CATALOGUE[BERT]
    assert spec.preprocess is not None
    for handle in (spec.handle, spec.preprocess, ADDRESS):
        with install(handle) as directory:
            write_model(directory, content=handle)
    with install("minilm-l6") as directory:
        write_pair(directory)
    return [BERT, ADDRESS, "minilm-l6", resolve(write_model(tmp_path / "mine", "mine")).handle]


@pytest.fixture
def packed(names: list[str], tmp_path: Path) -> Path:
    bundle(names, tmp_path / "encoders.tar")
    return tmp_path / "encoders.tar"


def rewritten(archive: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """Return the archive with each member's bytes changed."""
    with tarfile.open(archive) as tar:
        members = [(info.name, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]
    archive.write_bytes(pack_members(*((name, change(name, text)) for name, text in members)))
    return archive


def a_bundle(**changes: Any) -> bytes:
    """Return a bundle of one SavedModel with another list of contents than it should have."""
    files = {
        name: {"size": 1, "sha256": hashlib.sha256(b"x").hexdigest()}
        for name in (
            "saved_model.pb",
            "variables/variables.index",
            "variables/variables.data-00000-of-00001",
        )
    }
    contents: dict[str, Any] = {
        "format": 1,
        "encoders": [ADDRESS],
        "directories": [{"handle": ADDRESS, "files": files}],
    }
    contents.update(changes)
    return pack_members(
        ("bundle.json", json.dumps(contents).encode()), *((f"0/{name}", b"x") for name in files)
    )


def test_all_kinds_resolve_offline_on_the_other_machine(
    names: list[str], packed: Path, to_machine: Callable[[str], None], tmp_path: Path
) -> None:
    before = [resolve(name) for name in names]
    to_machine("isolated")
    for name in names:
        with pytest.raises(EncoderError):
            resolve(name, offline=True)
    (tmp_path / "mine").rename(tmp_path / "not here")
    assert unbundle(packed) == names
    for old in before:
        new = resolve(old.handle, offline=True)
        assert new.fingerprint == old.fingerprint
        assert new.handle == old.handle
        assert str(tmp_path / "isolated") in str(new.path)
        verify(new.path, deep=True)


def test_a_bundle_says_nothing_about_the_machine(packed: Path, tmp_path: Path) -> None:
    assert str(tmp_path).encode() not in packed.read_bytes()
    with tarfile.open(packed) as tar:
        assert {(info.uid, info.uname, info.mtime) for info in tar} == {(0, "", 0)}


def test_what_ships_in_the_package_takes_no_room(
    tmp_path: Path, to_machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handles, "ASSETS", tmp_path / "assets")
    archive = pack(write_model(tmp_path / "assets/model"), "xz")
    (tmp_path / "assets/minilm-static.tar.xz").write_bytes(archive)
    checksum = hashlib.sha256(archive).hexdigest()
    (tmp_path / "assets/minilm-static.tar.xz.sha256").write_text(checksum)
    bundle(["minilm-static"], tmp_path / "bundle.tar")
    with tarfile.open(tmp_path / "bundle.tar") as tar:
        assert tar.getnames() == ["bundle.json"]
    to_machine("isolated")
    assert unbundle(tmp_path / "bundle.tar") == ["minilm-static"]
    resolve("minilm-static", offline=True)


def test_what_cannot_be_bundled_leaves_no_file(names: list[str], tmp_path: Path) -> None:
    target = tmp_path / "bundle.tar"
    with pytest.raises(EncoderError, match="at least one encoder's name"):
        bundle([], target)
    with pytest.raises(UnknownNameError, match="Did you mean 'minilm-l6'"):
        bundle(["minilm-l7"], target)
    with pytest.raises(OfflineError, match="Received: https://tfhub.dev/google/nnlm-en-dim128/2"):
        bundle(["nnlm-en-dim128"], target, offline=True)
    # of the same size, so that only the checksum tells
    index = place(ADDRESS) / "variables/variables.index"
    index.write_text("xedni")
    with pytest.raises(CorruptEncoderError, match=r"variables/variables.index has sha256"):
        bundle(names, target)
    assert not target.exists()


def test_what_is_in_the_cache_already_is_replaced(packed: Path) -> None:
    graph = place(ADDRESS) / "saved_model.pb"
    graph.write_bytes(b"")
    unbundle(packed)
    assert graph.read_text() == ADDRESS


@pytest.mark.parametrize("part", ["0/saved_model.pb", "2/assets/vocab.txt"])
def test_a_wrong_checksum(packed: Path, part: str, to_machine: Callable[[str], None]) -> None:
    to_machine("isolated")
    rewritten(packed, lambda name, text: text[::-1] if name == part else text)
    told = rf"{part[2:]} of https://.* damaged in the bundle .*Expected sha256 \w+. Received: \w+"
    with pytest.raises(CorruptEncoderError, match=told):
        unbundle(packed)


def test_a_missing_file(packed: Path) -> None:
    with tarfile.open(packed) as tar:
        members = [
            (info.name, tar.extractfile(info).read())  # type: ignore[union-attr]
            for info in tar
            if info.name != "0/saved_model.pb"
        ]
    packed.write_bytes(pack_members(*members))
    with pytest.raises(CorruptEncoderError, match="Received: no such file"):
        unbundle(packed)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_a_truncated_bundle(
    packed: Path, share: float, to_machine: Callable[[str], None], tmp_path: Path
) -> None:
    to_machine("isolated")
    whole = packed.read_bytes()
    packed.write_bytes(whole[: int(share * len(whole.rstrip(b"\0")))])
    with pytest.raises(CorruptEncoderError, match="Not a whole tar archive|is truncated"):
        unbundle(packed)
    assert not (tmp_path / "isolated").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format": 2}, "ValueError: format 2"),
        ({"directories": [{"handle": "../../outside", "files": {}}]}, "handle '../../outside'"),
        ({"directories": [{"handle": "/etc", "files": {}}]}, "handle '/etc'"),
        ({"directories": [{"handle": BERT, "files": {}}]}, f"handle '{BERT}'"),
        ({"directories": [{"handle": ADDRESS}]}, "KeyError: 'files'"),
        ({"directories": [{"handle": 3, "files": {}}]}, "TypeError"),
        (
            {"directories": [{"handle": ADDRESS, "files": {"../x": {"size": 0, "sha256": ""}}}]},
            "file name '../x'",
        ),
    ],
)
def test_a_list_of_contents_that_makes_no_sense(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    (tmp_path / "bundle.tar").write_bytes(a_bundle())
    assert unbundle(tmp_path / "bundle.tar") == [ADDRESS]
    (tmp_path / "bundle.tar").write_bytes(a_bundle(**changes))
    with pytest.raises(CorruptEncoderError, match=f"Not a bundle .*{told}.* Accepted: format 1"):
        unbundle(tmp_path / "bundle.tar")


def test_members_that_lead_outside(tmp_path: Path) -> None:
    buffer = io.BytesIO(a_bundle())
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        tar.addfile(tarfile.TarInfo("../outside"))
    (tmp_path / "bundle.tar").write_bytes(buffer.getvalue())
    with pytest.raises(CorruptEncoderError, match=r"outside its folder, to '\.\./outside'"):
        unbundle(tmp_path / "bundle.tar")


def test_an_incomplete_encoder_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "bundle.tar").write_bytes(a_bundle(directories=[{"handle": ADDRESS, "files": {}}]))
    with pytest.raises(CorruptEncoderError, match=f"saved_model.pb is missing.* {ADDRESS}"):
        unbundle(tmp_path / "bundle.tar")
    assert not place(ADDRESS).exists()


def test_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="No such bundle"):
        unbundle(tmp_path / "absent.tar")
    (tmp_path / "bundle.tar").write_bytes(pack_members(("saved_model.pb", b"graph")))
    with pytest.raises(CorruptEncoderError, match="Not a bundle"):
        unbundle(tmp_path / "bundle.tar")
