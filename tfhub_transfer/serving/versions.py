"""The versions of the served models: found, loaded, made available, let go of.

A version that is let go of answers the requests that it has first. Where a base path itself is
gone, which may be a file system that is away for a moment, nothing changes, as in TF Serving.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tensorflow_serving.apis import model_pb2
from tensorflow_serving.config import model_server_config_pb2

from tfhub_transfer.artifact.predictor import Predictor
from tfhub_transfer.errors import ArtifactError
from tfhub_transfer.serving.batching import Batcher, BatchingParameters
from tfhub_transfer.serving.model import Model, State, Version
from tfhub_transfer.serving.model_config import versions_in, wanted_versions
from tfhub_transfer.serving.settings import ServeConfig
from tfhub_transfer.serving.status import Code, ServingError
from tfhub_transfer.serving.telemetry import Telemetry


class Models:
    """All that is served; belongs to the running event loop.

    Args:
        configured: see `model_config.configured_models`.
        config: how often to look, how often to try, whether to batch.
        parameters: how batches are made.
        telemetry: is told what happens to versions, and of each batch.
    """

    def __init__(
        self,
        configured: Sequence[model_server_config_pb2.ModelConfig],
        config: ServeConfig,
        parameters: BatchingParameters,
        telemetry: Telemetry,
    ):
        self._models = {model.name: Model(model) for model in configured}
        self._config = config
        self._parameters = parameters
        self._telemetry = telemetry
        # Loading is serial, as TF Serving's is by default; it competes with requests for the CPU.
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._workers = ThreadPoolExecutor(
            parameters.num_batch_threads, thread_name_prefix="batch"
        )
        # Which version answers what: changed in one assignment, read once for a request.
        self._serving: dict[tuple[str, int | None], Version] = {}
        self._changed = asyncio.Event()
        self._watching: list[asyncio.Task[None]] = []

    @property
    def names(self) -> tuple[str, ...]:
        """The models' names, in the order of the configuration."""
        return tuple(self._models)

    @property
    def ready(self) -> bool:
        """Whether every model has an available version."""
        return all((name, None) in self._serving for name in self._models)

    def latest(self) -> dict[str, int]:
        """Return the latest available version of each model that has one."""
        found = ((name, self._serving.get((name, None))) for name in self._models)
        return {name: version.number for name, version in found if version}

    def start(self) -> None:
        """Begin to look at the base paths."""
        self._watching = [asyncio.create_task(self._watch(one)) for one in self._models.values()]

    async def wait_until_ready(self) -> None:
        """Return when `ready`, which may be never."""
        while not self.ready:
            self._changed.clear()
            await self._changed.wait()

    async def close(self) -> None:
        """Stop looking and loading. Versions that are available stay so."""
        tasks = [*self._watching]
        for model in self._models.values():
            tasks += [one.task for one in model.versions.values() if one.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._loader.shutdown(wait=False, cancel_futures=True)
        self._workers.shutdown(wait=False)

    def resolve(self, spec: model_pb2.ModelSpec) -> Version:
        """Return the available version that a request asks for.

        Raises:
            ServingError: there is none; in the words of TF Serving's server_core.cc and
                basic_manager.cc.
        """
        name = spec.name
        if not name:
            raise ServingError(Code.INVALID_ARGUMENT, "ModelSpec has no name specified.")
        number: int | None = None
        choice = spec.WhichOneof("version_choice")
        if choice == "version":
            number = spec.version.value
        elif choice == "version_label":
            model = self._models.get(name)
            number = model.labels.get(spec.version_label) if model else None
            if number is None:
                raise ServingError(
                    Code.INVALID_ARGUMENT,
                    f"Unrecognized servable version label: {spec.version_label}",
                )
        version = self._serving.get((name, number))
        if version is None:
            wanted = f"Latest({name})" if number is None else f"Specific({name}, {number})"
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {wanted}")
        return version

    def known(self, name: str) -> list[Version]:
        """Return all versions of a model that were ever found, the lowest number first."""
        model = self._models.get(name)
        return [version for _, version in sorted(model.versions.items())] if model else []

    async def _watch(self, model: Model) -> None:
        while True:
            try:
                found = await asyncio.to_thread(versions_in, model.base_path)
            except Exception as error:  # whatever it is, there is a next time
                reason = getattr(error, "strerror", None) or error
                self._complain(model, f"The base path cannot be listed ({reason}).")
            else:
                wanted = wanted_versions(model.policy, found)
                model.wanted = {number: found[number] for number in wanted}
                if wanted:
                    model.complaint = ""
                else:
                    self._complain(model, _nothing_wanted(model.base_path))
                self._reconcile(model)
            if not self._config.file_system_poll_wait_seconds:
                return
            await asyncio.sleep(self._config.file_system_poll_wait_seconds)

    def _complain(self, model: Model, complaint: str) -> None:
        if complaint != model.complaint:
            model.complaint = complaint
            self._telemetry.event(
                "no_version",
                level="warning",
                model=model.name,
                base_path=str(model.base_path),
                reason=f"{complaint} Waiting for one.",
            )

    def _reconcile(self, model: Model) -> None:
        """Begin whatever the difference between wanted and present versions asks for."""
        model.give_up_unwanted()
        for version in model.to_load():
            version.task = asyncio.create_task(self._load(model, version))
        for version in model.to_unload():
            # at once, for this may be called again before the task begins
            version.state = State.UNLOADING
            version.task = asyncio.create_task(self._unload(model, version))
        model.forget()

    async def _load(self, model: Model, version: Version) -> None:
        loop = asyncio.get_running_loop()
        about = {"model": model.name, "version": version.number}
        begun = time.monotonic()
        try:
            for attempt in range(self._config.max_num_load_retries + 1):
                if attempt:
                    await asyncio.sleep(max(0.0, self._config.load_retry_interval_micros / 1e6))
                version.state = State.LOADING
                try:
                    predictor = await loop.run_in_executor(self._loader, self._read, version.path)
                except Exception as error:  # whatever it is, the server outlives it
                    # TF Serving says so only after the last attempt.
                    version.code, version.message = _reason(error)
                    self._telemetry.failed(
                        model=model.name,
                        version=version.number,
                        attempt=attempt + 1,
                        error=version.message,
                    )
                else:
                    version.code, version.message = Code.OK, ""
                    self._make_available(model, version, predictor)
                    seconds = round(time.monotonic() - begun, 3)
                    self._telemetry.event("version_available", **about, seconds=seconds)
                    break
        finally:
            if version.state != State.AVAILABLE:
                version.state = State.END
        self._reconcile(model)

    def _read(self, path: Path) -> Predictor:
        """Run in the loading thread."""
        predictor = Predictor.load(path)
        if self._config.enable_model_warmup:
            predictor.warm_up()
        return predictor

    def _make_available(self, model: Model, version: Version, predictor: Predictor) -> None:
        version.predictor = predictor
        version.batchers = {
            signature: Batcher(
                partial(predictor.run, signature=signature),
                self._workers,
                self._parameters,
                observe=self._observer(model.name),
                merge=self._config.enable_batching,
            )
            for signature in predictor.signatures
        }
        version.state = State.AVAILABLE
        self._publish()

    def _observer(self, name: str) -> Callable[[int, float], None]:
        telemetry = self._telemetry
        return lambda size, seconds: telemetry.batch(model=name, size=size, seconds=seconds)

    async def _unload(self, model: Model, version: Version) -> None:
        self._publish()
        for batcher in version.batchers.values():
            await batcher.emptied()
        version.predictor = None
        version.batchers = {}
        version.state = State.END
        version.task = None
        self._telemetry.event("version_unloaded", model=model.name, version=version.number)
        # TensorFlow's functions refer to each other in circles.
        await asyncio.to_thread(gc.collect)

    def _publish(self) -> None:
        serving: dict[tuple[str, int | None], Version] = {}
        for model in self._models.values():
            for version in model.available():
                serving[model.name, version.number] = version
                serving[model.name, None] = version
            latest = serving.get((model.name, None))
            self._telemetry.serving(model=model.name, version=latest.number if latest else 0)
        self._serving = serving
        self._changed.set()


def _nothing_wanted(base_path: Path) -> str:
    if (base_path / "saved_model.pb").exists():
        return (
            f"The base path is a version itself; it should be the folder above, {base_path.parent}."
        )
    return (
        "There is no version under the base path that the model's policy wants: a version is a "
        "folder whose name is a number, as 1."
    )


def _reason(error: Exception) -> tuple[Code, str]:
    code = Code.FAILED_PRECONDITION if isinstance(error, ArtifactError) else Code.UNKNOWN
    return code, str(error) or type(error).__name__
