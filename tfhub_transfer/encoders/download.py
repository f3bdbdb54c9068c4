"""One archive over HTTP, as TF Hub and Kaggle serve them.

TF Hub: https://www.tensorflow.org/hub/hosting (a handle is its own address, and the query
`tf-hub-format=compressed` asks for the archive). Kaggle: the endpoint, credentials and variables
of its client, https://github.com/Kaggle/kagglehub

Environment:
    TFHUB_TRANSFER_HUB_URL: a mirror of tfhub.dev, asked in its place.
    KAGGLE_API_ENDPOINT: asked in place of https://www.kaggle.com.
    KAGGLE_USERNAME, KAGGLE_KEY: credentials; else `kaggle.json` in KAGGLE_CONFIG_DIR or ~/.kaggle.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import logging
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from tfhub_transfer.encoders.catalogue import CATALOGUE
from tfhub_transfer.encoders.store import room
from tfhub_transfer.errors import CorruptEncoderError, DownloadError
from tfhub_transfer.registry import did_you_mean

__all__ = ["TFHUB", "checksum_of", "download", "kaggle_model", "mirrored", "request"]

TFHUB = "https://tfhub.dev"
TRIES = 3
BACKOFF_S = 1.0  # before the second try; doubled before each further one
TIMEOUT_S = 30.0  # without a byte
CHUNK = 1 << 18

_KAGGLE_MODEL = re.compile(
    r"(?:(?:https?://)?(?:www\.)?kaggle\.com/models/)?"
    r"(?P<owner>[\w.-]+)/(?P<model>[\w.-]+)/(?:frameworks/)?(?P<framework>(?i:tensorflow2))/"
    r"(?:variations/)?(?P<variation>[\w.-]+)/(?:versions/)?(?P<version>\d+)/?(?:\?.*)?"
)
_log = logging.getLogger(__name__)


def download(handle: str, to: Path) -> None:
    """Write the archive of an encoder to a file.

    Connections that are cut and errors on the server's side are tried again. A handle may end in
    `#sha256=HEX`, which the archive's checksum must then equal.

    Args:
        handle: a TF Hub or Kaggle handle, or any http(s) address of an archive.
        to: a file in an existing directory; left there, incomplete, when an error is raised.

    Raises:
        DownloadError: the server refused, does not have it, or cannot be reached; or the disk is
            full.
        CorruptEncoderError: the checksum is another one.
    """
    for attempt in range(1, TRIES + 1):
        try:
            received = _transfer(handle, to)
            break
        except urllib.error.HTTPError as error:
            problem = _refusal(handle, error)
            if error.code < 500 or attempt == TRIES:
                raise DownloadError(problem) from error
        except _ConnectionFailed as error:
            problem = str(error)
            if attempt == TRIES:
                raise DownloadError(
                    f"No whole download in {TRIES} tries, and the last one ended with: {problem}. "
                    f"Check the network, or bring the encoder from another machine: "
                    f"`python -m tfhub_transfer.encoders bundle` there. Received: {handle}"
                ) from error
        pause = BACKOFF_S * 2 ** (attempt - 1)
        _log.warning("Try %d of %d in %.0f s: %s", attempt + 1, TRIES, pause, problem)
        time.sleep(pause)
    expected = checksum_of(handle)
    if expected and received != expected:
        raise CorruptEncoderError(
            f"The archive of {handle.partition('#')[0]} has the wrong checksum. "
            f"Expected sha256 {expected}. Received: {received}"
        )


def checksum_of(handle: str) -> str | None:
    """Return the hexadecimal SHA-256 that a handle's `#sha256=HEX` demands.

    Raises:
        DownloadError: it is not a SHA-256.
    """
    _, found, checksum = handle.partition("#sha256=")
    if found and not re.fullmatch(r"[0-9a-fA-F]{64}", checksum):
        raise DownloadError(
            f"#sha256= is followed by 64 hexadecimal digits. Received: {checksum!r} in {handle}"
        )
    return checksum.lower() or None


def request(handle: str) -> urllib.request.Request:
    """Return what is asked of which server to get the archive of a handle."""
    address = handle.partition("#")[0]
    if kaggle := kaggle_model(address):
        endpoint = os.environ.get("KAGGLE_API_ENDPOINT", "https://www.kaggle.com").rstrip("/")
        asked = urllib.request.Request(f"{endpoint}/api/v1/models/{kaggle}/download")
        if credentials := _kaggle_credentials():
            token = base64.b64encode(credentials.encode()).decode()
            # not sent along to the storage server that Kaggle redirects to
            asked.add_unredirected_header("Authorization", f"Basic {token}")
        return asked
    if (mirror := mirrored()) and address.startswith(f"{TFHUB}/"):
        address = mirror + address.removeprefix(TFHUB)
    parts = urllib.parse.urlsplit(address)
    query = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
    query.append(("tf-hub-format", "compressed"))
    return urllib.request.Request(parts._replace(query=urllib.parse.urlencode(query)).geturl())


def mirrored() -> str | None:
    """Return the address of the mirror that stands in for tfhub.dev, if one was named."""
    return os.environ.get("TFHUB_TRANSFER_HUB_URL", "").rstrip("/") or None


def kaggle_model(handle: str) -> str | None:
    """Return OWNER/MODEL/FRAMEWORK/VARIATION/VERSION if that is what a handle or URL names."""
    match = _KAGGLE_MODEL.fullmatch(handle)
    return "/".join(match.groups()) if match else None


class _ConnectionFailed(Exception):
    """There was no connection, or it ended before the body did."""


@contextlib.contextmanager
def _network() -> Iterator[None]:
    """Tell a network's errors from a disk's, which are OSErrors too and not worth another try."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        raise
    except (OSError, http.client.HTTPException) as error:
        raise _ConnectionFailed(str(error) or type(error).__name__) from error


def _transfer(handle: str, to: Path) -> str:
    """Try once, and return the SHA-256 of what came."""
    with _network():
        response = urllib.request.urlopen(request(handle), timeout=TIMEOUT_S)
    with response:
        declared = response.headers.get("Content-Length")
        total = int(declared) if declared else None
        received = 0
        digest = hashlib.sha256()
        with room(to.parent, total or 0), to.open("wb") as file, _progress(handle, total) as show:
            while chunk := _read(response):
                file.write(chunk)
                digest.update(chunk)
                received += len(chunk)
                show(received)
    if total is not None and received != total:
        raise _ConnectionFailed(f"the connection was cut after {received} of {total} bytes")
    return digest.hexdigest()


def _read(response: http.client.HTTPResponse) -> bytes:
    with _network():
        return response.read(CHUNK)


@contextlib.contextmanager
def _progress(handle: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show MB and MB/s while standard error is a terminal."""
    # rich takes 0.1 s to import, which only a download should cost
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(handle.partition("#")[0], total=total)
        yield lambda received: progress.update(task, completed=received)


def _refusal(handle: str, error: urllib.error.HTTPError) -> str:
    """Say what a person can do about the server's answer."""
    if error.code in (404, 410):
        known = [*CATALOGUE, *(spec.handle for spec in CATALOGUE.values())]
        return (
            f"The server has no such encoder (HTTP {error.code}).{did_you_mean(handle, known)} "
            f"`python -m tfhub_transfer.encoders list` shows what is known. Received: {handle}"
        )
    if error.code in (401, 403):
        return (
            f"The server refused access (HTTP {error.code}). The encoder may ask that its licence "
            f"be accepted on its page, in a browser, and Kaggle then wants credentials: set "
            f"KAGGLE_USERNAME and KAGGLE_KEY, or put kaggle.json into ~/.kaggle. "
            f"Received: {handle}"
        )
    return f"The server answered HTTP {error.code} {error.reason}. Received: {handle}"


def _kaggle_credentials() -> str | None:
    """Return `user:key` from the environment or from kaggle.json; None where neither has it.

    Raises:
        DownloadError: kaggle.json is there and broken.
    """
    user, key = os.environ.get("KAGGLE_USERNAME"), os.environ.get("KAGGLE_KEY")
    if user and key:
        return f"{user}:{key}"
    folder = os.environ.get("KAGGLE_CONFIG_DIR") or Path.home() / ".kaggle"
    path = Path(folder) / "kaggle.json"
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return f"{stored['username']}:{stored['key']}"
    except (ValueError, KeyError, TypeError) as error:
        raise DownloadError(
            f"kaggle.json holds an object with username and key. Received: {path}, {error!r}"
        ) from error
