"""Versions come and go under a base path, and no request is lost over it."""

from __future__ import annotations

import asyncio
import errno
import gc
import re
import shutil
import weakref
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorflow_serving.apis import get_model_status_pb2, model_pb2

from tests.serving.running import SECONDS, TEXTS, Log, deploy, expected, settings
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.serving import versions
from tfhub_transfer.serving.batching import BatchingParameters
from tfhub_transfer.serving.limits import Limits
from tfhub_transfer.serving.model_config import configured_models, versions_in
from tfhub_transfer.serving.service import Service
from tfhub_transfer.serving.status import Code, ServingError
from tfhub_transfer.serving.telemetry import Telemetry
from tfhub_transfer.serving.versions import Models

pytestmark = pytest.mark.slow

VALUES = [text.encode() for text in TEXTS]
STATES = get_model_status_pb2.ModelVersionStatus.State


class Served:
    """Models without a network, in the running loop."""

    def __init__(self, models: Models, log: Log):
        self.models = models
        self.log = log
        self.service = Service(models, Limits(), Telemetry(stream=Log()))

    async def predict(self, version: int | None = None, label: str | None = None):
        spec = model_pb2.ModelSpec(name="film")
        if version is not None:
            spec.version.value = version
        if label is not None:
            spec.version_label = label
        return await self.service.predict(spec, VALUES)

    async def answered_by(self, **choice) -> int:
        return (await self.predict(**choice)).spec.version.value

    def states(self, model: str = "film") -> dict[int, str]:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = model
        try:
            found = self.service.status(request).model_version_status
        except ServingError:
            return {}
        return {one.version: STATES.Name(one.state) for one in found}


async def until(condition: Callable[[], object]) -> None:
    async def wait() -> None:
        while not condition():
            await asyncio.sleep(0.005)

    await asyncio.wait_for(wait(), SECONDS)


def run(main: Callable[[Served], Coroutine[Any, Any, None]], base: Path, **changes) -> Log:
    log = Log()
    config = settings(base, **changes)

    async def body() -> None:
        models = Models(
            configured_models(config), config, BatchingParameters(), Telemetry(stream=log)
        )
        models.start()
        try:
            await asyncio.wait_for(main(Served(models, log)), 60)
        finally:
            await models.close()

    asyncio.run(body())
    return log


def configuration(tmp_path: Path, base: Path, rest: str) -> str:
    path = tmp_path / "models.config"
    path.write_text(
        f'model_config_list {{ config {{ name: "film" base_path: "{base}" '
        f'model_platform: "tensorflow" {rest} }} }}'
    )
    return str(path)


@pytest.fixture
def base(tmp_path) -> Path:
    base = tmp_path / "saved_models" / "film"
    base.mkdir(parents=True)
    return base


def test_versions_are_swapped_under_load_and_every_answer_is_right(base):
    swaps = 8
    answers: list[tuple[int, bool]] = []
    deploy(base, 1, 1.0)

    async def main(served: Served) -> None:
        await served.models.wait_until_ready()
        finished = False

        async def client() -> None:
            while not finished:
                answer = await served.predict()
                number = answer.spec.version.value
                bias = 1.0 if number % 2 else -1.0
                right = np.allclose(answer.outputs["probabilities"], expected(bias), atol=1e-5)
                answers.append((number, right))

        clients = [asyncio.create_task(client()) for _ in range(8)]
        for number in range(2, swaps + 2):
            before = len(answers)
            await asyncio.to_thread(deploy, base, number, 1.0 if number % 2 else -1.0)
            await until(lambda: served.states().get(number) == "AVAILABLE")  # noqa: B023
            await until(lambda: served.states()[number - 1] == "END")  # noqa: B023
            await until(lambda: len(answers) > before + 20)  # noqa: B023
        finished = True
        await asyncio.gather(*clients)
        assert served.states() == {**dict.fromkeys(range(1, swaps + 1), "END"), 9: "AVAILABLE"}

    log = run(main, base)
    assert all(right for _, right in answers)
    assert {number for number, _ in answers} == set(range(1, swaps + 2))
    assert [event["version"] for event in log.events("version_unloaded")] == list(range(1, 9))


def test_a_broken_version_is_reported_and_the_old_one_answers(base):
    deploy(base, 1)

    async def main(served: Served) -> None:
        await served.models.wait_until_ready()
        deploy(base, 2, broken=True)
        await until(lambda: served.states().get(2) == "END")
        assert served.states()[1] == "AVAILABLE"
        assert await served.answered_by() == 1
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "film"
        request.model_spec.version.value = 2
        (status,) = served.service.status(request).model_version_status
        assert status.status.error_code == Code.FAILED_PRECONDITION.value
        assert "cannot be read" in status.status.error_message
        await asyncio.sleep(0.1)
        assert len(served.log.events("version_failed")) == 3, "it is not tried for ever"
        exposed = served.models._telemetry.exposition()[0].decode()
        assert 'tfhub_transfer_failed_loads_total{model="film"} 3.0' in exposed
        assert 'tfhub_transfer_model_version{model="film"} 1.0' in exposed
        deploy(base, 3, 2.0)
        await until(lambda: served.states()[1] == "END")
        assert await served.answered_by() == 3
        shutil.rmtree(base / "2")
        await asyncio.sleep(0.1)
        deploy(base, 2)
        await asyncio.sleep(0.1)
        assert served.states()[2] == "END", "an older one is not wanted"

    run(main, base, max_num_load_retries=2, load_retry_interval_micros=1000)


def test_a_version_that_is_mended_in_time_is_loaded(base):
    deploy(base, 1, broken=True)

    async def main(served: Served) -> None:
        await until(lambda: served.log.events("version_failed"))
        assert served.states() == {1: "LOADING"}
        assert not served.service.ready
        shutil.rmtree(base / "1")
        deploy(base, 1)
        await served.models.wait_until_ready()
        assert await served.answered_by() == 1

    run(main, base, max_num_load_retries=50, load_retry_interval_micros=50_000)


def test_a_version_that_is_deleted_is_let_go_of_and_the_one_before_it_comes_back(base):
    deploy(base, 1, 1.0)

    async def main(served: Served) -> None:
        await served.models.wait_until_ready()
        deploy(base, 2, -1.0)
        await until(lambda: served.states().get(1) == "END")
        shutil.rmtree(base / "2")
        await until(lambda: served.states()[2] == "END")
        answer = await served.predict()
        assert answer.spec.version.value == 1
        np.testing.assert_allclose(answer.outputs["probabilities"], expected(1.0), atol=1e-5)
        gone = r"^Servable not found for request: Specific\(film, 2\)$"
        with pytest.raises(ServingError, match=gone):
            await served.predict(version=2)
        shutil.rmtree(base / "1")
        await until(lambda: served.states()[1] == "END")
        with pytest.raises(ServingError, match=r"^Servable not found for request: Latest\(film\)$"):
            await served.predict()
        assert not served.service.ready

    run(main, base)


def test_a_base_path_that_is_away_changes_nothing(base):
    deploy(base, 1)

    async def main(served: Served) -> None:
        await served.models.wait_until_ready()
        base.rename(base.with_name("away"))
        await until(lambda: served.log.events("no_version"))
        assert await served.answered_by() == 1
        base.with_name("away").rename(base)

    run(main, base)


def test_a_base_path_that_comes_later(base):
    base.rmdir()

    async def main(served: Served) -> None:
        await until(lambda: served.log.events("no_version"))
        assert served.states() == {}
        base.mkdir()
        await until(lambda: len(served.log.events("no_version")) == 2)
        await asyncio.sleep(0.1)
        (base / "deploy").mkdir()
        deploy(base, 1)
        await served.models.wait_until_ready()
        assert served.models.latest() == {"film": 1}

    missing, empty = run(main, base).events("no_version")
    assert missing["base_path"] == str(base)
    assert "No such file" in missing["reason"]
    assert "a version is a folder whose name is a number" in empty["reason"]


def test_a_base_path_that_is_a_version_itself(base):
    deploy(base, 1)

    async def main(served: Served) -> None:
        await until(lambda: served.log.events("no_version"))

    (told,) = run(main, base / "1").events("no_version")
    assert told["level"] == "warning"
    assert told["reason"] == (
        f"The base path is a version itself; it should be the folder above, {base}. "
        f"Waiting for one."
    )


def test_the_memory_of_a_version_is_given_back(base):
    deploy(base, 1)

    async def main(served: Served) -> None:
        await served.models.wait_until_ready()
        await served.predict()
        (version,) = served.models.known("film")
        loaded = weakref.ref(version.predictor._loaded)
        deploy(base, 2)
        await until(lambda: served.log.events("version_unloaded"))
        await served.predict()

        def gone() -> bool:
            gc.collect()  # does nothing while another thread collects
            return loaded() is None

        await until(gone)

    run(main, base)


def test_looking_once(base):
    deploy(base, 1)

    async def main(served: Served) -> None:
        await served.models.wait_until_ready()
        deploy(base, 2)
        await asyncio.sleep(0.2)
        assert served.states() == {1: "AVAILABLE"}

    run(main, base, file_system_poll_wait_seconds=0)


@pytest.mark.parametrize(
    ("policy", "served_versions"),
    [
        ("", {4}),
        ("model_version_policy { latest { num_versions: 2 } }", {3, 4}),
        ("model_version_policy { all {} }", {1, 3, 4}),
        ("model_version_policy { specific { versions: 1 versions: 3 versions: 9 } }", {1, 3}),
    ],
)
def test_policies(base, tmp_path, policy, served_versions):
    for number in (1, 3, 4):
        deploy(base, number)

    async def main(served: Served) -> None:
        await until(lambda: len(served.states()) == len(served_versions))
        await until(lambda: set(served.states().values()) == {"AVAILABLE"})
        assert set(served.states()) == served_versions
        assert await served.answered_by() == max(served_versions)
        assert await served.answered_by(version=min(served_versions)) == min(served_versions)

    run(main, base, model_config_file=configuration(tmp_path, base, policy))


def test_labels(base, tmp_path):
    for number in (1, 2):
        deploy(base, number)
    labels = (
        "model_version_policy { all {} } version_labels { key: 'stable' value: 1 } "
        "version_labels { key: 'canary' value: 2 } version_labels { key: 'next' value: 3 }"
    )

    async def main(served: Served) -> None:
        await until(lambda: list(served.states().values()) == ["AVAILABLE"] * 2)
        assert await served.answered_by(label="stable") == 1
        assert await served.answered_by(label="canary") == 2
        with pytest.raises(ServingError, match=r"Servable not found .* Specific\(film, 3\)"):
            await served.predict(label="next")
        with pytest.raises(ServingError, match="^Unrecognized servable version label: beta$") as no:
            await served.predict(label="beta")
        assert no.value.code is Code.INVALID_ARGUMENT

    file = configuration(tmp_path, base, labels)
    run(main, base, model_config_file=file)
    strict = settings(
        None, model_config_file=file, allow_version_labels_for_unavailable_models=False
    )
    with pytest.raises(ConfigError, match=r"assign label to version 2 of model film.*'canary' in"):
        configured_models(strict)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EMFILE, "Too many open files"), r"\(Too many open files\)"),
        (RuntimeError("can't start new thread"), r"\(can't start new thread\)"),
    ],
)
def test_looking_goes_on_whatever_goes_wrong(base, monkeypatch, error, reason):
    deploy(base, 1)
    looked = []

    def failing(path: Path) -> dict[int, Path]:
        looked.append(path)
        if len(looked) < 4:
            raise error
        return versions_in(path)

    monkeypatch.setattr(versions, "versions_in", failing)

    async def main(served: Served) -> None:
        await served.models.wait_until_ready()

    (told,) = run(main, base).events("no_version")
    assert re.search(reason, told["reason"])
