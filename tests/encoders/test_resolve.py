from __future__ import annotations

import hashlib
import logging
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.encoders.hub_server import (
    HubServer,
    leftovers,
    pack,
    serving,
    write_model,
    write_pair,
)
from tfhub_transfer.encoders import download, handles
from tfhub_transfer.encoders.catalogue import CATALOGUE
from tfhub_transfer.encoders.resolve import cache_dir, resolve, verify
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

pytestmark = pytest.mark.usefixtures("encoder_cache")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A mirror of TF Hub that has nnlm-en-dim50 and the smallest BERT."""
    with serving() as server:
        monkeypatch.setenv("TFHUB_TRANSFER_HUB_URL", server.url)
        for path in (NNLM_PATH, BERT_PATH, PREPROCESS_PATH):
            model = write_model(tmp_path / "published" / path.strip("/"), content=path)
            server.archives[path] = pack(model)
        yield server


class TestFetching:
    def test_a_catalogue_name_is_fetched_as_tensorflow_hub_would(
        self, hub: HubServer, encoder_cache: Path
    ) -> None:
        encoder = resolve("nnlm-en-dim50")
        assert encoder.handle == encoder.name == "nnlm-en-dim50"
        assert encoder.spec is CATALOGUE["nnlm-en-dim50"]
        assert encoder.preprocess is None
        # tensorflow_hub looks for a handle under its SHA-1
        assert encoder.path == encoder_cache / hashlib.sha1(NNLM.encode()).hexdigest()
        assert (encoder.path / "saved_model.pb").read_text() == NNLM_PATH
        assert hub.asked == [f"{NNLM_PATH}?tf-hub-format=compressed"]
        verify(encoder.path, deep=True)
        assert not leftovers(encoder_cache)

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

    def test_a_checksum_is_compared(self, hub: HubServer, encoder_cache: Path) -> None:
        right = hashlib.sha256(hub.archives[NNLM_PATH]).hexdigest()
        assert resolve(f"{hub.url}{NNLM_PATH}#sha256={right}").name == "nnlm-en-dim50/2"
        with pytest.raises(CorruptEncoderError, match=f"Expected sha256 {'0' * 64}. .*{right}"):
            resolve(f"{hub.url}{NNLM_PATH}#sha256={'0' * 64}")
        with pytest.raises(DownloadError, match="64 hexadecimal digits. Received: 'abc'"):
            resolve(f"{hub.url}{NNLM_PATH}#sha256=abc")
        assert not leftovers(encoder_cache)

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

    def test_a_killed_download_is_begun_anew(self, hub: HubServer, encoder_cache: Path) -> None:
        hub.moods[NNLM_PATH] = "half"
        command = [sys.executable, "-c", RESOLVE_IN_A_PROCESS, "nnlm-en-dim50"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        assert hub.half_sent.wait(20)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        hub.release.set()
        assert leftovers(encoder_cache)
        with pytest.raises(OfflineError):
            resolve("nnlm-en-dim50", offline=True)
        del hub.moods[NNLM_PATH]
        verify(resolve("nnlm-en-dim50").path, deep=True)
        assert not leftovers(encoder_cache)

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
        self, hub: HubServer, encoder_cache: Path
    ) -> None:
        file = resolve("nnlm-en-dim50").path / "assets/vocab.txt"
        (file.parent.parent / "saved_model.pb").unlink()
        hub.moods[NNLM_PATH] = "broken"
        with pytest.raises(DownloadError, match="HTTP 500"):
            resolve("nnlm-en-dim50")
        assert file.exists()
        assert not leftovers(encoder_cache)


@pytest.mark.usefixtures("no_sockets")
class TestOffline:
    def test_what_is_missing_and_how_to_bring_it(self, encoder_cache: Path) -> None:
        told = (
            rf"Not in the cache {encoder_cache}, and offline.*encoders fetch nnlm-en-dim50`.*"
            rf"encoders bundle`.* fetch --from FILE`.* Received: {NNLM}"
        )
        with pytest.raises(OfflineError, match=told):
            resolve("nnlm-en-dim50", offline=True)
        with pytest.raises(OfflineError, match="Received: https://example.org/model"):
            resolve("https://example.org/model", offline=True)
        assert not encoder_cache.exists()

    def test_what_is_cached_resolves(self) -> None:
        directory = write_model(handles.place(NNLM))
        assert resolve("nnlm-en-dim50", offline=True).path == directory

    def test_the_guard_guards(self) -> None:
        with pytest.raises(AssertionError, match="a socket was opened"):
            resolve("https://127.0.0.1:9/model")


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
