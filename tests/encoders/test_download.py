from __future__ import annotations

import base64
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.encoders.hub_server import HubServer, serving
from tfhub_transfer.encoders import download as module
from tfhub_transfer.encoders.download import download, kaggle_model, request
from tfhub_transfer.errors import CorruptEncoderError, DownloadError

ARCHIVE = bytes(range(256)) * 4096
KAGGLE = "google/nnlm/tensorFlow2/en-dim50/1"
KAGGLE_PATH = f"/api/v1/models/{KAGGLE}/download"


@pytest.fixture(autouse=True)
def no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "TFHUB_TRANSFER_HUB_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    monkeypatch.setattr(module, "BACKOFF_S", 0.01)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with serving() as server:
        monkeypatch.setenv("KAGGLE_API_ENDPOINT", f"{server.url}/")
        server.archives = {"/model/1": ARCHIVE, KAGGLE_PATH: ARCHIVE}
        yield server


def test_the_archive_arrives(hub: HubServer, tmp_path: Path) -> None:
    download(f"{hub.url}/model/1", tmp_path / "archive")
    assert (tmp_path / "archive").read_bytes() == ARCHIVE
    assert hub.asked == ["/model/1?tf-hub-format=compressed"]


def test_404_suggests_what_is_known(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_TRANSFER_HUB_URL", hub.url)
    wrong = "https://tfhub.dev/google/nnlm-en-dim51/2"
    told = rf"HTTP 404.* Did you mean 'https://tfhub.dev/google/nnlm-en-dim50/2'\?.*: {wrong}"
    with pytest.raises(DownloadError, match=told):
        download(wrong, tmp_path / "archive")
    assert len(hub.asked) == 1


def test_403_speaks_of_licence_and_credentials(hub: HubServer, tmp_path: Path) -> None:
    hub.moods["/model/1"] = "forbidden"
    with pytest.raises(DownloadError, match=r"HTTP 403.*licence.*KAGGLE_KEY.*model/1"):
        download(f"{hub.url}/model/1", tmp_path / "archive")
    assert len(hub.asked) == 1


def test_a_cut_connection_is_tried_three_times(
    hub: HubServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub.moods["/model/1"] = "cut"
    half = len(ARCHIVE) // 2
    told = f"3 tries.*cut after {half} of {len(ARCHIVE)} bytes.*network.*bundle.*model/1"
    with caplog.at_level(logging.WARNING), pytest.raises(DownloadError, match=told):
        download(f"{hub.url}/model/1", tmp_path / "archive")
    assert len(hub.asked) == 3
    assert "Try 3 of 3" in caplog.text


def test_a_server_that_recovers_is_forgiven(hub: HubServer, tmp_path: Path) -> None:
    hub.moods["/model/1"] = "recovering"
    download(f"{hub.url}/model/1", tmp_path / "archive")
    assert (tmp_path / "archive").read_bytes() == ARCHIVE
    assert len(hub.asked) == 2


def test_a_server_that_does_not_is_an_error(hub: HubServer, tmp_path: Path) -> None:
    hub.moods["/model/1"] = "broken"
    with pytest.raises(DownloadError, match="The server answered HTTP 500 .*model/1"):
        download(f"{hub.url}/model/1", tmp_path / "archive")
    assert len(hub.asked) == 3


def test_a_silent_server_is_given_up(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.1)
    hub.moods["/model/1"] = "half"
    with pytest.raises(DownloadError, match="3 tries.* timed out"):
        download(f"{hub.url}/model/1", tmp_path / "archive")


def test_no_server_at_all(tmp_path: Path) -> None:
    with serving() as gone:
        address = f"{gone.url}/model/1"
    with pytest.raises(DownloadError, match="3 tries.*refused"):
        download(address, tmp_path / "archive")


def test_a_wrong_checksum(hub: HubServer, tmp_path: Path) -> None:
    received = hashlib.sha256(ARCHIVE).hexdigest()
    told = f"/model/1 has the wrong checksum. Expected sha256 {'ab' * 32}. Received: {received}"
    with pytest.raises(CorruptEncoderError, match=told):
        download(f"{hub.url}/model/1#sha256={'AB' * 32}", tmp_path / "archive")
    download(f"{hub.url}/model/1#sha256={received}", tmp_path / "archive")


class TestFullDisk:
    def test_is_seen_before_it_is_filled(
        self, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usage = shutil.disk_usage(tmp_path)._replace(free=1000)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
        with pytest.raises(DownloadError, match=r"full: 1\.0 MB needed.*: 0\.0 MB left in /"):
            download(f"{hub.url}/model/1", tmp_path / "archive")
        assert not (tmp_path / "archive").exists()

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
    def test_is_explained_when_it_fills_up_on_the_way(self, hub: HubServer) -> None:
        with pytest.raises(DownloadError, match=r"The disk is full.* TFHUB_CACHE_DIR .* in /dev"):
            download(f"{hub.url}/model/1", Path("/dev/full"))
        assert len(hub.asked) == 1


class TestKaggle:
    @pytest.mark.parametrize(
        "handle",
        [
            KAGGLE,
            f"https://www.kaggle.com/models/{KAGGLE}",
            f"https://kaggle.com/models/{KAGGLE}?tfhub-redirect=true",
            "kaggle.com/models/google/nnlm/frameworks/tensorFlow2/variations/en-dim50/versions/1",
        ],
    )
    def test_every_spelling_is_one_model(self, handle: str) -> None:
        assert kaggle_model(handle) == KAGGLE

    @pytest.mark.parametrize(
        "handle",
        ["https://tfhub.dev/google/nnlm-en-dim50/2", "a/b/c/d/1", KAGGLE.removesuffix("/1"), "x"],
    )
    def test_other_handles_are_not(self, handle: str) -> None:
        assert kaggle_model(handle) is None

    def test_public_models_need_no_credentials(self, hub: HubServer, tmp_path: Path) -> None:
        download(KAGGLE, tmp_path / "archive")
        assert hub.asked == [KAGGLE_PATH]
        assert hub.credentials == [None]

    def test_credentials_from_the_environment_win(
        self, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stored = {"username": "stored", "key": "secret"}
        (tmp_path / "kaggle.json").write_text(json.dumps(stored))
        download(KAGGLE, tmp_path / "archive")
        monkeypatch.setenv("KAGGLE_USERNAME", "named")
        monkeypatch.setenv("KAGGLE_KEY", "secret")
        download(KAGGLE, tmp_path / "archive")
        sent = [base64.b64decode((header or "").split()[1]) for header in hub.credentials]
        assert sent == [b"stored:secret", b"named:secret"]

    def test_credentials_are_kept_from_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KAGGLE_USERNAME", "named")
        monkeypatch.setenv("KAGGLE_KEY", "secret")
        asked = request(KAGGLE)
        assert "Authorization" in asked.unredirected_hdrs  # not sent to where Kaggle redirects
        assert "Authorization" not in asked.headers
        assert not request("https://tfhub.dev/google/nnlm-en-dim50/2").has_header("Authorization")

    def test_a_broken_credentials_file(self, tmp_path: Path) -> None:
        (tmp_path / "kaggle.json").write_text('{"username": "me"}')
        with pytest.raises(DownloadError, match=r"username and key\. .*kaggle.json, KeyError"):
            download(KAGGLE, tmp_path / "archive")


def test_progress_is_shown_on_a_terminal(
    hub: HubServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    download(f"{hub.url}/model/1", tmp_path / "archive")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")  # makes rich take standard error for a terminal
    monkeypatch.setenv("COLUMNS", "120")
    download(f"{hub.url}/model/1", tmp_path / "archive")
    shown = capsys.readouterr().err
    assert f"{hub.url}/model/1" in shown
    assert "MB" in shown
