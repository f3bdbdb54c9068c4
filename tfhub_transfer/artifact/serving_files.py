"""What lies beside an exported model for TensorFlow Serving to be started with: `NAME/deploy/`.

The folder is mounted with the versions, since TensorFlow Serving passes over names that are no
number (sources/storage_path/file_system_storage_path_source.cc). tensorflow-serving-api has the
schema of `models.config`, which is parsed before it is written. It has none of BatchingParameters:
a test parses that file as the local server does.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from tfhub_transfer.artifact import sizing as limits
from tfhub_transfer.artifact.sizing import BatchSizing
from tfhub_transfer.errors import ArtifactError
from tfhub_transfer.runs import atomic_path

FOLDER = "deploy"
FILES = ("models.config", "batching_parameters.txt", "compose.yaml", "kubernetes.yaml", "README.md")
SENTENCE = "The answer came within an hour and solved it."
"""For examples: of nobody's data."""

_SEAL = "What tfhub_transfer wrote above has the checksum "
_DNS_LABEL = 50  # 63, less what names derived from it add
_MEBIBYTE = 2**20
_SERVER_BYTES = 1024 * _MEBIBYTE  # TensorFlow Serving itself, and what a batch needs
_LOADED = 1.2  # in memory over on disk: kResourceEstimateRAMMultiplier of TensorFlow Serving


def write_serving_files(
    directory: Path,
    name: str,
    sizing: BatchSizing,
    *,
    version: int,
    serving_version: str,
    size_bytes: int,
    example: Any = SENTENCE,
) -> tuple[Path, ...]:
    """Write `deploy/` with the server's settings, a compose file and a Kubernetes manifest.

    Each file's last line has a checksum. One that somebody has changed does not fit it: it is
    kept, and ours is written beside it as `FILE.new`.

    Args:
        directory: of the model, which holds its versions.
        name: of the model, in URLs and paths.
        sizing: how requests are batched.
        version: the newest.
        serving_version: of TensorFlow Serving, as `2.19.1`; `2.19` means `2.19.0`.
        size_bytes: of the version, on disk.
        example: an instance of a request, as JSON has it.

    Returns:
        The files that were kept.

    Raises:
        ArtifactError: a name or a version that the files cannot hold.
    """
    kept = []
    for file, content in _contents(
        name,
        sizing,
        version=version,
        serving_version=serving_version,
        size_bytes=size_bytes,
        example=example,
    ):
        target = directory / FOLDER / file
        ours_beside = target.with_name(f"{file}.new")
        if target.exists() and not _untouched(target):
            kept.append(target)
            target = ours_beside
        else:
            ours_beside.unlink(missing_ok=True)
        with atomic_path(target) as temporary:
            temporary.write_text(_sealed(file, content), encoding="utf-8")
    return tuple(kept)


def kubernetes_name(name: str) -> str:
    """Return the closest name that Kubernetes takes: a DNS label of RFC 1035, in lower case.

    Args:
        name: of a model.
    """
    label = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not label[:1].isalpha():
        label = f"model-{label}"
    return label[:_DNS_LABEL].strip("-")


def _contents(
    name: str,
    sizing: BatchSizing,
    *,
    version: int,
    serving_version: str,
    size_bytes: int,
    example: Any,
) -> Iterator[tuple[str, str]]:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ArtifactError(
            f"A model's name stands in URLs and paths: letters of ASCII, digits, '.', '_' and '-', "
            f"and a letter or a digit first. Received: {name!r}"
        )
    release = re.fullmatch(r"(\d+\.\d+)(\.\d+)?(-rc\d+)?", serving_version)
    if release is None:
        raise ArtifactError(
            f"A release of TensorFlow Serving is named like 2.19.1. Received: {serving_version!r}"
        )
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfhub_transfer.artifact", "templates"),
        autoescape=False,  # no HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    memory = _SERVER_BYTES + 2 * _LOADED * size_bytes
    values = {
        "name": name,
        "kubernetes_name": kubernetes_name(name),
        "version": version,
        "serving_version": serving_version if release[2] else f"{release[1]}.0{release[3] or ''}",
        "sizing": sizing,
        "largest_request": limits.LARGEST_REQUEST,
        "batch_milliseconds": round(1000 * limits.BATCH_SECONDS),
        "timeout_milliseconds": limits.TIMEOUT_MICROS // 1000,
        "queue_seconds": round(limits.QUEUE_SECONDS),
        "memory": f"{-(-memory // (64 * _MEBIBYTE)) * 64:.0f}Mi",
        "storage": f"{1 + -(-5 * size_bytes // 2**30)}Gi",  # a few versions
        "healthcheck": _healthcheck(name),
        "body": json.dumps({"instances": [example]}),
    }
    for file in FILES:
        content = environment.get_template(f"{file}.j2").render(values)
        if file == "models.config":
            text_format.Parse(content, model_server_config_pb2.ModelServerConfig())
        yield file, content


def _healthcheck(name: str) -> str:
    """Return bash that succeeds if a version is served, as a YAML string.

    The status of a model has its versions with their states, such as AVAILABLE or END.
    """
    request = rf"GET /v1/models/{name} HTTP/1.0\r\n\r\n"
    answer = """grep -q '"AVAILABLE"'"""
    command = f"exec 3<>/dev/tcp/127.0.0.1/8501 && printf '{request}' >&3 && {answer} <&3"
    return json.dumps(command)  # JSON's strings are YAML's


def _sealed(file: str, content: str) -> str:
    """Return the content with a last line by which `_untouched` knows it again."""
    seal = f"{_SEAL}{_digest(content)}"
    return content + (f"\n<!-- {seal} -->\n" if file.endswith(".md") else f"# {seal}\n")


def _untouched(file: Path) -> bool:
    content = file.read_text(encoding="utf-8", errors="replace")
    found = re.fullmatch(rf"(.*)(?:# |\n<!-- ){_SEAL}(\w+)(?: -->)?\n", content, re.DOTALL)
    return found is not None and _digest(found[1]) == found[2]


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode("utf-8")).hexdigest()[:16]
