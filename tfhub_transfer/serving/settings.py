"""What `serve` can be told, under tensorflow_model_server's own flag names.

Names, defaults and meanings are those of TF Serving's model_servers/main.cc and server.h where the
docstring does not say otherwise. TensorFlow is not imported here, nor grpc.
"""

from __future__ import annotations

from dataclasses import dataclass

from tfhub_transfer.errors import ConfigError

ANY_PORT = -1


@dataclass(frozen=True)
class ServeConfig:
    """Which models are served, where, and within which limits.

    Attributes:
        model_name: what clients ask for. Ignored with `--model_config_file`.
        model_base_path: the folder whose numbered children are the model's versions, as
            `saved_models/NAME`. Ignored with `--model_config_file`.
        model_config_file: a ModelServerConfig in protobuf's text format, for several models,
            version policies and version labels.
        host: the address to listen on. TF Serving listens on all of them: `0.0.0.0`.
        port: of gRPC; 0 turns gRPC off, -1 takes any free port.
        rest_api_port: of REST and the page; 0 turns both off, as is TF Serving's default, and -1
            takes any free port.
        rest_api_timeout_in_ms: after this long a REST request is answered with DEADLINE_EXCEEDED.
        enable_batching: let requests of many clients go through the model together. On by default
            here, for a client that is alone does not wait for others; off in TF Serving.
        batching_parameters_file: a BatchingParameters in protobuf's text format.
        file_system_poll_wait_seconds: how often the base paths are looked at for new versions; 0
            looks once.
        max_num_load_retries: how often a version that could not be loaded is tried again.
        load_retry_interval_micros: the wait before each such retry; negative does not wait.
        enable_model_warmup: replay the warm-up requests that lie with a version before it is
            available.
        allow_version_labels_for_unavailable_models: let a label point at a version that is not
            loaded yet, as every one is while the server starts. TF Serving's default is false, with
            which it refuses to start on a configuration that has labels, and so does this server.
        tensorflow_intra_op_parallelism: threads within one operation; 0 lets TensorFlow choose.
        tensorflow_inter_op_parallelism: operations at a time; 0 lets TensorFlow choose.
        max_body_bytes: of one request, as sent, and of its instances together.
        max_text_bytes: of one instance in UTF-8, a question and its context together; a tf.Example
            may have 100 more around it.
        max_instances: in one request.
        log_texts: write the texts of requests into the log.
        grace_seconds: how long requests that were accepted may take to be answered once the
            server is told to stop.
    """

    model_name: str = "default"
    model_base_path: str | None = None
    model_config_file: str | None = None
    host: str = "127.0.0.1"
    port: int = 8500
    rest_api_port: int = 8501
    rest_api_timeout_in_ms: int = 30_000
    enable_batching: bool = True
    batching_parameters_file: str | None = None
    file_system_poll_wait_seconds: float = 1
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    enable_model_warmup: bool = True
    allow_version_labels_for_unavailable_models: bool = True
    tensorflow_intra_op_parallelism: int = 0
    tensorflow_inter_op_parallelism: int = 0
    max_body_bytes: int = 16 * 2**20
    max_text_bytes: int = 100_000
    max_instances: int = 1024
    log_texts: bool = False
    grace_seconds: float = 30

    def __post_init__(self) -> None:
        if not self.model_config_file and not self.model_base_path:
            raise ConfigError(
                "There is no model to serve: give --model_base_path, the folder of its versions, "
                "or --model_config_file. Received: neither"
            )
        if not self.model_config_file and (not self.model_name or set("/:") & set(self.model_name)):
            raise ConfigError(
                f"A model's name is part of addresses, as /v1/models/NAME:predict, and holds no "
                f"'/' or ':'. Received: --model_name {self.model_name!r}"
            )
        for name in ("port", "rest_api_port"):
            number = getattr(self, name)
            if not ANY_PORT <= number <= 65535:
                raise ConfigError(
                    f"--{name} must be from 1 to 65535, 0 (off) or -1 (any free one). "
                    f"Received: {number}"
                )
        if self.port == self.rest_api_port != ANY_PORT:
            raise ConfigError(
                f"gRPC and REST cannot share a port, and one of them has to be on. "
                f"Received: --port {self.port} --rest_api_port {self.rest_api_port}"
            )
        for name in _POSITIVE:
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name} must be at least 1. Received: {getattr(self, name)}")
        for name in _NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise ConfigError(f"--{name} must not be negative. Received: {getattr(self, name)}")

    def environment(self) -> dict[str, str]:
        """Return the variables that TensorFlow reads its numbers of threads from at its start."""
        wanted = {
            "TF_NUM_INTRAOP_THREADS": self.tensorflow_intra_op_parallelism,
            "TF_NUM_INTEROP_THREADS": self.tensorflow_inter_op_parallelism,
        }
        return {name: str(threads) for name, threads in wanted.items() if threads}


_POSITIVE = ("rest_api_timeout_in_ms", "max_body_bytes", "max_text_bytes", "max_instances")
_NOT_NEGATIVE = (
    "file_system_poll_wait_seconds",
    "max_num_load_retries",
    "tensorflow_intra_op_parallelism",
    "tensorflow_inter_op_parallelism",
    "grace_seconds",
)
