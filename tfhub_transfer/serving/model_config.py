"""Which models are served, from which folders, and which of their versions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tensorflow_serving.config import file_system_storage_path_source_pb2 as storage_pb2
from tensorflow_serving.config import model_server_config_pb2

from tfhub_transfer.errors import ConfigError
from tfhub_transfer.serving import text_format
from tfhub_transfer.serving.settings import ServeConfig

_LARGEST_VERSION = 2**63 - 1


def configured_models(config: ServeConfig) -> list[model_server_config_pb2.ModelConfig]:
    """Return what the flags, or the file that they name, configure.

    Raises:
        ConfigError: the file cannot be used.
    """
    if not config.model_config_file:
        if "\0" in (config.model_base_path or ""):
            raise ConfigError(
                f"A path holds no NUL. Received: --model_base_path {config.model_base_path!r}"
            )
        return [
            model_server_config_pb2.ModelConfig(
                name=config.model_name, base_path=config.model_base_path
            )
        ]
    content = text_format.read(
        config.model_config_file, model_server_config_pb2.ModelServerConfig(), "model_config_file"
    )
    models = list(content.model_config_list.config)
    file = f"--model_config_file {config.model_config_file}"
    if not models:
        raise ConfigError(
            f"A model configuration has model_config_list {{ config {{ name: ... base_path: ... }} "
            f"}}. Received: no model in {file}"
        )
    names = [model.name for model in models]
    for model in models:
        if not model.name or not model.base_path:
            raise ConfigError(
                f"Each model has a name and a base_path. Received: name {model.name!r}, "
                f"base_path {model.base_path!r} in {file}"
            )
        if "\0" in model.base_path:
            raise ConfigError(f"A path holds no NUL. Received: {model.base_path!r} in {file}")
        if names.count(model.name) > 1:
            raise ConfigError(
                f"Each model has a name of its own. Received: {model.name!r} twice in {file}"
            )
        if model.version_labels and not config.allow_version_labels_for_unavailable_models:
            label, version = next(iter(sorted(model.version_labels.items())))
            raise ConfigError(
                f"Request to assign label to version {version} of model {model.name}, which is not "
                f"currently available for inference: while the server starts no version is. Add "
                f"--allow_version_labels_for_unavailable_models. Received: {label!r} in {file}"
            )
    return models


def versions_in(base_path: Path) -> dict[int, Path]:
    """Return the numbered children of a base path; other children are none of the server's.

    Raises:
        OSError: the folder cannot be listed.
    """
    found: dict[int, Path] = {}
    # Of `1` and `001` the first in this order is taken, always the same one.
    for child in sorted(base_path.iterdir(), key=lambda child: (len(child.name), child.name)):
        name = child.name
        if name.isascii() and name.isdigit() and int(name) <= _LARGEST_VERSION and child.is_dir():
            found.setdefault(int(name), child)
    return found


def wanted_versions(
    policy: storage_pb2.FileSystemStoragePathSourceConfig.ServableVersionPolicy,
    found: Iterable[int],
) -> set[int]:
    """Return which of the versions found a model's policy wants served.

    As `file_system_storage_path_source.cc` of TF Serving: the latest one when nothing is said.
    """
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return set(found)
    if choice == "specific":
        return set(found) & set(policy.specific.versions)
    return set(sorted(found)[-max(1, policy.latest.num_versions) :])
