"""Encoders that need no network: a path, one that was built here, one that the package brings."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from tests.encoders.hub_server import leftovers, pack, write_model, write_pair
from tfhub_transfer.encoders import handles
from tfhub_transfer.encoders.resolve import built_dir, install, resolve, verify
from tfhub_transfer.errors import CorruptEncoderError, EncoderError

pytestmark = pytest.mark.usefixtures("encoder_cache")


class TestLocal:
    def test_a_directory_is_known_by_name_and_fingerprint(self, tmp_path: Path) -> None:
        directory = write_model(tmp_path / "mine")
        encoder = resolve(directory)
        assert encoder == resolve(str(directory))
        assert encoder.handle == f"mine@sha256:{encoder.fingerprint}"
        assert str(tmp_path) not in encoder.handle
        assert encoder.name == "mine"
        assert resolve(encoder.handle) == encoder

    def test_a_pair_is_a_transformer(self, tmp_path: Path) -> None:
        encoder = resolve(write_pair(tmp_path / "pair"))
        assert encoder.path == tmp_path / "pair/encoder"
        assert encoder.preprocess == tmp_path / "pair/preprocess"
        assert resolve(encoder.handle) == encoder

    def test_a_relative_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_model(tmp_path / "minilm-l6")
        monkeypatch.chdir(tmp_path)
        assert resolve("./minilm-l6").handle.startswith("minilm-l6@sha256:")
        with pytest.raises(EncoderError, match="built on this machine"):
            resolve("minilm-l6")  # the catalogue's

    def test_the_fingerprint_is_of_what_decides_the_outputs(self, tmp_path: Path) -> None:
        one = write_model(tmp_path / "one")
        before = resolve(one).fingerprint
        (one / "README.md").write_text("words")
        assert resolve(one).fingerprint == before
        assert resolve(write_model(tmp_path / "elsewhere")).fingerprint == before
        (one / "assets/vocab.txt").write_text("b\na\n")
        assert resolve(one).fingerprint != before
        assert resolve(write_pair(tmp_path / "pair")).fingerprint != before

    def test_a_directory_that_changed_is_refused(self, tmp_path: Path) -> None:
        directory = write_model(tmp_path / "mine")
        handle = resolve(directory).handle
        write_model(directory, content="trained further")
        with pytest.raises(CorruptEncoderError, match=r"no longer those of mine@sha256:.* info PA"):
            resolve(handle)

    def test_an_unknown_one_says_how_to_make_it_known(self, tmp_path: Path) -> None:
        handle = f"mine@sha256:{'0' * 64}"
        with pytest.raises(EncoderError, match=rf"encoders info PATH`\. Received: {handle}"):
            resolve(handle)
        directory = write_model(tmp_path / "mine")
        handle = resolve(directory).handle
        shutil.rmtree(directory)
        with pytest.raises(EncoderError, match=rf"was in {directory} and is not there"):
            resolve(handle)

    def test_a_cache_that_cannot_be_written_to_is_no_hindrance(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "file" / "cache"))
        assert resolve(write_model(tmp_path / "mine")).name == "mine"

    def test_a_pre_training_is_not_its_module(self, tmp_path):
        (tmp_path / "run" / "module").mkdir(parents=True)
        (tmp_path / "run" / "config.yaml").touch()
        with pytest.raises(EncoderError, match=r"Accepted: .*run/module\. Received: .*run$"):
            resolve(tmp_path / "run")

    def test_what_is_no_encoder(self, tmp_path: Path) -> None:
        with pytest.raises(EncoderError, match=r"No such directory\..*Received: /.*absent"):
            resolve(tmp_path / "absent")
        with pytest.raises(EncoderError, match="No such directory"):
            resolve("saved_models/absent")
        with pytest.raises(CorruptEncoderError, match="saved_model.pb is missing or empty"):
            resolve(tmp_path)
        pair = write_pair(tmp_path / "pair")
        (pair / "preprocess/saved_model.pb").unlink()
        with pytest.raises(CorruptEncoderError, match="preprocess/saved_model.pb is missing"):
            resolve(pair)


class TestBuilt:
    def test_absent_says_how_to_build_it(self) -> None:
        with pytest.raises(EncoderError, match="make minilm.*build minilm-l6 --checkpoint DIR"):
            resolve("minilm-l6")

    def test_installed_whole_or_not_at_all(self, encoder_cache: Path) -> None:
        told = r"encoder/variables/variables.index is missing or empty. Received: minilm-l6"
        with pytest.raises(CorruptEncoderError, match=told), install("minilm-l6") as directory:
            write_pair(directory)
            (directory / "encoder/variables/variables.index").unlink()
        with pytest.raises(ZeroDivisionError), install("minilm-l6") as directory:
            write_pair(directory)
            raise ZeroDivisionError
        assert not built_dir("minilm-l6").exists()
        with install("minilm-l6") as directory:
            write_pair(directory)
        encoder = resolve("minilm-l6")
        assert encoder.handle == "minilm-l6"
        assert encoder.path == encoder_cache / "built/minilm-l6/encoder"
        assert encoder.preprocess == encoder_cache / "built/minilm-l6/preprocess"
        verify(built_dir("minilm-l6"), deep=True)
        assert not leftovers(encoder_cache)

    def test_a_damaged_one_is_told(self) -> None:
        with install("minilm-l6") as directory:
            write_pair(directory)
        (built_dir("minilm-l6") / "encoder/saved_model.pb").write_text("")
        with pytest.raises(CorruptEncoderError, match="encoder/saved_model.pb has 0 bytes"):
            resolve("minilm-l6")


@pytest.mark.usefixtures("no_sockets")
class TestPackaged:
    """An encoder whose archive ships in the package, with its checksum beside it."""

    @pytest.fixture
    def assets(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(handles, "ASSETS", tmp_path / "assets")
        return tmp_path / "assets"

    def ship(self, assets: Path, content: str) -> str:
        archive = pack(write_model(assets / content, content), "xz")
        checksum = hashlib.sha256(archive).hexdigest()
        (assets / "minilm-static.tar.xz").write_bytes(archive)
        (assets / "minilm-static.tar.xz.sha256").write_text(f"{checksum}  minilm-static.tar.xz\n")
        return checksum

    def test_is_unpacked_once_for_each_version(self, assets: Path, encoder_cache: Path) -> None:
        checksum = self.ship(assets, "version 1")
        first = resolve("minilm-static", offline=True)
        assert first.handle == "minilm-static"
        assert first.path == encoder_cache / "packaged" / checksum
        before = first.path.stat().st_mtime_ns
        assert resolve("minilm-static").path.stat().st_mtime_ns == before
        self.ship(assets, "version 2")
        assert (resolve("minilm-static").path / "saved_model.pb").read_text() == "version 2"

    def test_a_damaged_installation_is_told(self, assets: Path) -> None:
        self.ship(assets, "version 1")
        (assets / "minilm-static.tar.xz").write_bytes(b"")
        with pytest.raises(CorruptEncoderError, match="damaged: reinstall the package. Expected"):
            resolve("minilm-static")
