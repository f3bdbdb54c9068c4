from __future__ import annotations

import hashlib
import logging
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.encoders.hub_server import HubServer, pack, serving, write_model, write_pair
from tfhub_transfer.encoders import download, handles
from tfhub_transfer.encoders.catalogue import CATALOGUE
from tfhub_transfer.encoders.resolve import built_dir, cache_dir, install, resolve, verify
from tfhub_transfer.errors import (
    CorruptEncoderError,
    DownloadError,
    EncoderError,
    OfflineError,
    UnknownNameError,
)

NNLM = "https://tfhub.dev/google/nnlm-en-dim50/2"
NNLM_PATH = "/google/nnlm-en-dim50/2"
BERT_PATH = "/tensorflow/small_bert/bert_en_uncased_L-2_H-128_A-2/2"
PREPROCESS_PATH = "/tensorflow/bert_en_uncased_preprocess/3"
WEIGHTS = "variables/variables.data-00000-of-00001"

RESOLVE_IN_A_PROCESS = (
    "import sys; from tfhub_transfer.encoders.resolve import resolve;"
    "print('ready', flush=True); print(resolve(sys.argv[1]).path)"
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "BACKOFF_S", 0.01)
    return tmp_path / "cache"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A mirror of TF Hub that has nnlm-en-dim50 and the smallest BERT."""
    with serving() as server:
        monkeypatch.setenv("TFHUB_TRANSFER_HUB_URL", server.url)
        for path in (NNLM_PATH, BERT_PATH, PREPROCESS_PATH):
            model = write_model(tmp_path / "published" / path.strip("/"), content=path)
            server.archives[path] = pack(model)
        yield server


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def leftovers(cache: Path) -> list[Path]:
    return [*cache.rglob("*.partial"), *cache.rglob(".writing-*")]


class TestFetching:
    def test_a_catalogue_name_is_fetched_as_tensorflow_hub_would(
        self, hub: HubServer, cache: Path
    ) -> None:
        encoder = resolve("nnlm-en-dim50")
        assert encoder.handle == encoder.name == "nnlm-en-dim50"
        assert encoder.spec is CATALOGUE["nnlm-en-dim50"]
        assert encoder.preprocess is None
        # tensorflow_hub looks for a handle under its SHA-1
        assert encoder.path == cache / hashlib.sha1(NNLM.encode()).hexdigest()
        assert (encoder.path / "saved_model.pb").read_text() == NNLM_PATH
        assert hub.asked == [f"{NNLM_PATH}?tf-hub-format=compressed"]
        verify(encoder.path, deep=True)
        assert not leftovers(cache)

    def test_a_second_time_nothing_is_asked(self, hub: HubServer) -> None:
        first = resolve("nnlm-en-dim50")
        assert resolve(NNLM) == first
        assert resolve("google/nnlm/TensorFlow2/en-dim50/1") == first
        assert len(hub.asked) == 1

    def test_a_transformer_is_two_directories(self, hub: HubServer) -> None:
        encoder = resolve("small-bert-l2-h128-a2")
        assert (encoder.path / "saved_model.pb").read_text() == BERT_PATH
        assert encoder.preprocess is not None
        assert (encoder.preprocess / "saved_model.pb").read_text() == PREPROCESS_PATH

    def test_any_address_keeps_its_own_query(self, hub: HubServer) -> None:
        hub.archives["/team/model/3"] = hub.archives[NNLM_PATH]
        encoder = resolve(f"{hub.url}/team/model/3?key=a%20b")
        assert encoder.handle == f"{hub.url}/team/model/3?key=a%20b"
        assert encoder.name == "model/3"
        assert encoder.spec is None
        assert hub.asked == ["/team/model/3?key=a+b&tf-hub-format=compressed"]

    def test_an_archive_may_hold_a_transformers_pair(self, hub: HubServer, tmp_path: Path) -> None:
        hub.archives["/pair"] = pack(write_pair(tmp_path / "pair"), "xz", root="pair")
        encoder = resolve(f"{hub.url}/pair")
        assert encoder.path.name == "encoder"
        assert encoder.preprocess == encoder.path.parent / "preprocess"

    def test_an_archives_own_manifest_counts_for_nothing(
        self, hub: HubServer, tmp_path: Path
    ) -> None:
        model = write_model(tmp_path / "model")
        (model / ".manifest.json").write_text('{"files": {"absent": {}}}')
        hub.archives["/model"] = pack(model)
        verify(resolve(f"{hub.url}/model").path, deep=True)

    def test_a_checksum_is_compared(self, hub: HubServer, cache: Path) -> None:
        right = hashlib.sha256(hub.archives[NNLM_PATH]).hexdigest()
        assert resolve(f"{hub.url}{NNLM_PATH}#sha256={right}").name == "nnlm-en-dim50/2"
        with pytest.raises(CorruptEncoderError, match=f"Expected sha256 {'0' * 64}. .*{right}"):
            resolve(f"{hub.url}{NNLM_PATH}#sha256={'0' * 64}")
        with pytest.raises(DownloadError, match="64 hexadecimal digits. Received: 'abc'"):
            resolve(f"{hub.url}{NNLM_PATH}#sha256=abc")
        assert not leftovers(cache)

    def test_without_its_own_server_it_comes_from_kaggle(
        self, hub: HubServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.delenv("TFHUB_TRANSFER_HUB_URL")
        monkeypatch.setenv("KAGGLE_API_ENDPOINT", hub.url)
        path = "/api/v1/models/google/nnlm/tensorFlow2/en-dim50/1/download"
        hub.archives[path] = hub.archives[NNLM_PATH]
        ask = download.request

        def tfhub_is_gone(handle: str) -> object:
            return ask(handle.replace("https://tfhub.dev", f"{hub.url}/gone"))

        monkeypatch.setattr(download, "request", tfhub_is_gone)
        resolve("nnlm-en-dim50")
        assert [path.partition("?")[0] for path in hub.asked] == [f"/gone{NNLM_PATH}", path]
        assert "Trying Kaggle: google/nnlm/tensorFlow2/en-dim50/1" in caplog.text

    def test_two_processes_download_once(self, hub: HubServer) -> None:
        hub.moods[NNLM_PATH] = "half"
        command = [sys.executable, "-c", RESOLVE_IN_A_PROCESS, "nnlm-en-dim50"]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        assert hub.half_sent.wait(20)
        time.sleep(0.1)  # for the other one to come to the lock
        hub.release.set()
        paths = [process.communicate(timeout=20)[0].strip() for process in processes]
        assert paths[0] == paths[1] == str(handles.place(NNLM))
        assert len(hub.asked) == 1

    def test_a_killed_download_is_begun_anew(self, hub: HubServer, cache: Path) -> None:
        hub.moods[NNLM_PATH] = "half"
        command = [sys.executable, "-c", RESOLVE_IN_A_PROCESS, "nnlm-en-dim50"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        assert hub.half_sent.wait(20)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        hub.release.set()
        assert leftovers(cache)
        with pytest.raises(OfflineError):
            resolve("nnlm-en-dim50", offline=True)
        del hub.moods[NNLM_PATH]
        verify(resolve("nnlm-en-dim50").path, deep=True)
        assert not leftovers(cache)

    def test_a_cache_that_cannot_be_written_to(
        self, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "file" / "cache"))
        with pytest.raises(EncoderError, match="cache cannot be written to .* TFHUB_CACHE_DIR"):
            resolve("nnlm-en-dim50")


class TestDamage:
    """tensorflow/hub#896: a cached directory whose model is gone is used as if it were there."""

    @pytest.mark.parametrize("name", ["saved_model.pb", WEIGHTS, "assets/vocab.txt"])
    @pytest.mark.parametrize("how", ["missing", "truncated"])
    def test_is_found_out_and_fetched_anew(
        self, hub: HubServer, caplog: pytest.LogCaptureFixture, name: str, how: str
    ) -> None:
        file = resolve("nnlm-en-dim50").path / name
        whole = file.read_bytes()
        if how == "missing":
            file.unlink()
        else:
            file.write_bytes(whole[:-1])
        with caplog.at_level(logging.WARNING):
            resolve("nnlm-en-dim50")
        assert file.read_bytes() == whole
        assert f"The cached {NNLM} is damaged and is replaced: {name}" in caplog.text
        assert len(hub.asked) == 2

    @pytest.mark.parametrize(
        "gone", ["saved_model.pb", "variables/variables.index", WEIGHTS, "variables", "."]
    )
    def test_in_what_tensorflow_hub_cached(self, hub: HubServer, gone: str) -> None:
        directory = write_model(handles.place(NNLM), content="cached by tensorflow_hub")
        assert resolve("nnlm-en-dim50").path == directory
        assert not hub.asked
        damaged = directory / gone
        if damaged.is_dir():
            shutil.rmtree(damaged)
            directory.mkdir(exist_ok=True)
        else:
            damaged.write_bytes(b"")
        resolve("nnlm-en-dim50")
        assert (directory / "saved_model.pb").read_text() == NNLM_PATH
        assert len(hub.asked) == 1

    def test_is_an_error_offline(self, hub: HubServer, no_sockets: None) -> None:
        directory = write_model(handles.place(NNLM))
        (directory / "saved_model.pb").unlink()
        with pytest.raises(CorruptEncoderError, match=r"damaged, and offline .*saved_model\.pb is"):
            resolve("nnlm-en-dim50", offline=True)

    def test_of_the_manifest_counts_too(self, hub: HubServer) -> None:
        path = resolve("nnlm-en-dim50").path
        (path / ".manifest.json").write_text("{")
        with pytest.raises(CorruptEncoderError, match="manifest cannot be read"):
            verify(path)
        resolve("nnlm-en-dim50")
        assert len(hub.asked) == 2

    def test_of_content_is_seen_by_a_deep_verification(self, hub: HubServer) -> None:
        path = resolve("nnlm-en-dim50").path
        (path / "assets/vocab.txt").write_text("b\na\n")
        verify(path)
        with pytest.raises(CorruptEncoderError, match=r"assets/vocab.txt has sha256 .* when inst"):
            verify(path, deep=True)

    def test_that_a_download_does_not_cure_keeps_what_is_there(
        self, hub: HubServer, cache: Path
    ) -> None:
        file = resolve("nnlm-en-dim50").path / "assets/vocab.txt"
        (file.parent.parent / "saved_model.pb").unlink()
        hub.moods[NNLM_PATH] = "broken"
        with pytest.raises(DownloadError, match="HTTP 500"):
            resolve("nnlm-en-dim50")
        assert file.exists()
        assert not leftovers(cache)


@pytest.mark.usefixtures("no_sockets")
class TestOffline:
    def test_what_is_missing_and_how_to_bring_it(self, cache: Path) -> None:
        told = (
            rf"Not in the cache {cache}, and offline.*encoders fetch nnlm-en-dim50`.*"
            rf"encoders bundle`.* fetch --from FILE`.* Received: {NNLM}"
        )
        with pytest.raises(OfflineError, match=told):
            resolve("nnlm-en-dim50", offline=True)
        with pytest.raises(OfflineError, match="Received: https://example.org/model"):
            resolve("https://example.org/model", offline=True)
        assert not cache.exists()

    def test_what_is_cached_resolves(self) -> None:
        directory = write_model(handles.place(NNLM))
        assert resolve("nnlm-en-dim50", offline=True).path == directory

    def test_the_guard_guards(self) -> None:
        with pytest.raises(AssertionError, match="a socket was opened"):
            resolve("https://127.0.0.1:9/model")


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
        with pytest.raises(EncoderError, match="not known on this machine"):
            resolve(handle)

    def test_a_cache_that_cannot_be_written_to_is_no_hindrance(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "file" / "cache"))
        assert resolve(write_model(tmp_path / "mine")).name == "mine"

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

    def test_installed_whole_or_not_at_all(self, cache: Path) -> None:
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
        assert encoder.path == cache / "built/minilm-l6/encoder"
        assert encoder.preprocess == cache / "built/minilm-l6/preprocess"
        verify(built_dir("minilm-l6"), deep=True)
        assert not leftovers(cache)

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

    def test_is_unpacked_once_for_each_version(self, assets: Path, cache: Path) -> None:
        checksum = self.ship(assets, "version 1")
        first = resolve("minilm-static", offline=True)
        assert first.handle == "minilm-static"
        assert first.path == cache / "packaged" / checksum
        before = first.path.stat().st_mtime_ns
        assert resolve("minilm-static").path.stat().st_mtime_ns == before
        self.ship(assets, "version 2")
        assert (resolve("minilm-static").path / "saved_model.pb").read_text() == "version 2"

    def test_a_damaged_installation_is_told(self, assets: Path) -> None:
        self.ship(assets, "version 1")
        (assets / "minilm-static.tar.xz").write_bytes(b"")
        with pytest.raises(CorruptEncoderError, match="damaged: reinstall the package. Expected"):
            resolve("minilm-static")


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'nnlm-en-dim50'\?.*encoders list`"):
        resolve("nnlm-en-dim5")
    with pytest.raises(UnknownNameError, match=r"Received: 'gs://bucket/model'"):
        resolve("gs://bucket/model")


def test_the_default_cache_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFHUB_CACHE_DIR")
    assert cache_dir().parts[-2:] == ("tfhub_transfer", "encoders")


def test_a_fetched_savedmodel_is_loaded_by_tensorflow_hub(hub: HubServer, tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    import tensorflow_hub

    class Lengths(tf.Module):  # type: ignore[misc, name-defined]
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, text: object) -> object:
            return tf.cast(tf.strings.length(text), tf.float32)[:, None]

    tf.saved_model.save(Lengths(), str(tmp_path / "lengths"))
    hub.archives["/lengths/1"] = pack(tmp_path / "lengths")
    encoder = resolve(f"{hub.url}/lengths/1")
    # by its address too, out of the shared cache
    for name in (str(encoder.path), encoder.handle):
        assert tensorflow_hub.load(name)(tf.constant(["four"])).numpy() == [[4.0]]
    assert len(hub.asked) == 1
