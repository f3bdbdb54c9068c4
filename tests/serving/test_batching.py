"""Requests in one queue: which go together, in what order, and who is refused."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfhub_transfer.errors import ConfigError
from tfhub_transfer.serving.batching import Batcher, BatchingParameters
from tfhub_transfer.serving.status import Code, ServingError


class GraphError(Exception):
    """As tf.errors.InvalidArgumentError looks, without TensorFlow."""

    error_code = 3

    def __init__(self, message: str):
        super().__init__(message)
        self.message = message


class Model:
    """Echoes; refuses b"bad"; can be held."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, values: Sequence[bytes]) -> dict[str, np.ndarray]:
        self.batches.append(list(values))
        assert self.gate.wait(10)
        if b"bad" in values:
            raise GraphError("Could not parse")
        if b"long" in values:
            raise GraphError("x" * 5000)
        if b"odd" in values:
            raise KeyError("odd")
        lengths = np.array([[len(value)] for value in values], np.float32)
        return {"echo": np.array(list(values), object), "length": lengths}


def run(
    main: Callable[[Batcher, Model], Coroutine[Any, Any, None]], *, merge: bool = True, **settings
) -> Model:
    model = Model()

    async def body() -> None:
        parameters = BatchingParameters(**{"num_batch_threads": 1, **settings})
        with ThreadPoolExecutor(parameters.num_batch_threads) as executor:
            try:
                await asyncio.wait_for(
                    main(Batcher(model, executor, parameters, merge=merge), model), 20
                )
            finally:
                model.gate.set()

    asyncio.run(body())
    return model


def task(batcher: Batcher, *values: bytes) -> asyncio.Task:
    return asyncio.ensure_future(batcher.submit(list(values)))


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def occupied(batcher: Batcher, model: Model, count: int = 1) -> list[asyncio.Task]:
    """Hold the model with `count` batches."""
    model.gate.clear()
    tasks = []
    for number in range(count):
        tasks.append(task(batcher, b"first%d" % number))
        await until(lambda: len(model.batches) == len(tasks))
    return tasks


def test_one_client_never_waits_for_others():
    async def main(batcher: Batcher, model: Model) -> None:
        begun = time.perf_counter()
        for _ in range(20):
            await batcher.submit([b"alone"])
        assert time.perf_counter() - begun < 2

    model = run(main, batch_timeout_micros=5_000_000, num_batch_threads=2)
    assert model.batches == [[b"alone"]] * 20


def test_what_arrives_together_goes_together():
    async def main(batcher: Batcher, model: Model) -> None:
        answers = await asyncio.gather(*(batcher.submit([b"%d" % n]) for n in range(5)))
        assert [answer["echo"].tolist() for answer in answers] == [[b"%d" % n] for n in range(5)]

    assert len(run(main).batches) == 1


def test_what_waits_while_the_model_is_busy_goes_together():
    async def main(batcher: Batcher, model: Model) -> None:
        first = await occupied(batcher, model)
        others = [task(batcher, b"a"), task(batcher, b"b", b"c"), task(batcher, b"d")]
        await asyncio.sleep(0.01)
        model.gate.set()
        answers = await asyncio.gather(*first, *others)
        assert answers[2]["echo"].tolist() == [b"b", b"c"]
        assert answers[2]["length"].shape == (2, 1)

    assert run(main, max_batch_size=3).batches == [[b"first0"], [b"a", b"b", b"c"], [b"d"]]


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    max_batch_size=st.integers(1, 5),
    threads=st.integers(1, 3),
    pauses=st.lists(st.booleans(), min_size=12, max_size=12),
    merge=st.booleans(),
)
def test_everybody_gets_their_own_rows_in_order(sizes, max_batch_size, threads, pauses, merge):
    async def main(batcher: Batcher, model: Model) -> None:
        requests = [[b"%d/%d" % (n, i) for i in range(size)] for n, size in enumerate(sizes)]
        tasks = []
        for request, pause in zip(requests, pauses, strict=False):
            tasks.append(task(batcher, *request))
            if pause:
                await asyncio.sleep(0)
        answers = await asyncio.gather(*tasks)
        assert [answer["echo"].tolist() for answer in answers] == requests
        await batcher.emptied()

    model = run(main, merge=merge, max_batch_size=max_batch_size, num_batch_threads=threads)
    largest = max_batch_size if merge else max(sizes)
    assert max(map(len, model.batches)) <= largest
    assert sum(map(len, model.batches)) == sum(sizes)
    if not merge:
        assert sorted(map(len, model.batches)) == sorted(sizes)


def test_parts_of_unlike_width_are_padded_to_the_widest():
    class Wide(Model):
        def __call__(self, values: Sequence[bytes]) -> dict[str, np.ndarray]:
            width = max(map(len, values))
            letters = [[bytes([c]) for c in value.ljust(width)] for value in values]
            numbers = [[len(value)] * width for value in values]
            return {"letters": np.array(letters, object), "numbers": np.array(numbers, np.int32)}

    async def body() -> dict[str, np.ndarray]:
        with ThreadPoolExecutor(1) as executor:
            parameters = BatchingParameters(max_batch_size=1, num_batch_threads=1)
            return await Batcher(Wide(), executor, parameters).submit([b"a", b"bcd", b"ef"])

    rows = asyncio.run(body())
    assert rows["letters"].tolist() == [[b"a", b"", b""], [b"b", b"c", b"d"], [b"e", b"f", b""]]
    assert rows["numbers"].tolist() == [[1, 0, 0], [3, 3, 3], [2, 2, 0]]
    assert rows["numbers"].dtype == np.int32


def test_a_full_queue_refuses_at_once():
    async def main(batcher: Batcher, model: Model) -> None:
        first = await occupied(batcher, model)
        waiting = [task(batcher, b"a", b"b"), task(batcher, b"c")]
        await asyncio.sleep(0)
        begun = time.perf_counter()
        with pytest.raises(ServingError, match=r"queue is full: it holds 4 .* 3 wait, .* has 2\."):
            await batcher.submit([b"d", b"e"])
        assert time.perf_counter() - begun < 0.1
        fits = task(batcher, b"f")
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(*first, *waiting, fits)

    run(main, max_batch_size=2, max_enqueued_batches=2)


def test_the_code_of_a_full_queue():
    async def main(batcher: Batcher, model: Model) -> None:
        await occupied(batcher, model)
        waiting = task(batcher, b"a")
        await asyncio.sleep(0)
        with pytest.raises(ServingError) as refused:
            await batcher.submit([b"b"])
        assert refused.value.code is Code.RESOURCE_EXHAUSTED
        model.gate.set()
        await waiting

    run(main, max_batch_size=1, max_enqueued_batches=1)


def test_a_request_larger_than_the_queue_has_its_chance():
    async def main(batcher: Batcher, model: Model) -> None:
        answer = await batcher.submit([b"%d" % n for n in range(9)])
        assert answer["echo"].tolist() == [b"%d" % n for n in range(9)]

    assert run(main, max_batch_size=2, max_enqueued_batches=1).batches[0] == [b"0", b"1"]


def test_only_the_guilty_request_fails():
    async def main(batcher: Batcher, model: Model) -> None:
        requests = [b"a", b"bad", b"b", b"odd", b"long"]
        results = await asyncio.gather(
            *(batcher.submit([value]) for value in requests), return_exceptions=True
        )
        assert [result["echo"][0] for result in (results[0], results[2])] == [b"a", b"b"]
        assert (results[1].code, results[1].message) == (Code.INVALID_ARGUMENT, "Could not parse")
        assert (results[3].code, results[3].message) == (Code.INTERNAL, "KeyError: 'odd'")
        assert len(results[4].message) < 1100

    assert len(run(main).batches) == 6


def test_a_part_of_a_large_request_that_fails_fails_it():
    async def main(batcher: Batcher, model: Model) -> None:
        with pytest.raises(ServingError, match="Could not parse"):
            await batcher.submit([b"a", b"b", b"bad", b"c", b"d", b"e"])
        await batcher.emptied()
        assert (await batcher.submit([b"f"]))["echo"].tolist() == [b"f"]

    run(main, max_batch_size=1)


def test_who_has_gone_leaves_the_queue():
    async def main(batcher: Batcher, model: Model) -> None:
        first = await occupied(batcher, model)
        gone = [task(batcher, b"gone"), task(batcher, b"gone", b"too", b"large")]
        stays = task(batcher, b"stays")
        await asyncio.sleep(0)
        for one in gone:
            one.cancel()
        await asyncio.sleep(0)
        after = task(batcher, b"after", b"it")  # has room, now that they are gone
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(*first, stays, after)
        await batcher.emptied()

    model = run(main, max_batch_size=2, max_enqueued_batches=3)
    assert model.batches == [[b"first0"], [b"stays"], [b"after", b"it"]]


def test_who_goes_while_the_model_runs_disturbs_nobody():
    async def main(batcher: Batcher, model: Model) -> None:
        (first,) = await occupied(batcher, model)
        first.cancel()
        other = task(batcher, b"other")
        await asyncio.sleep(0)
        model.gate.set()
        assert (await other)["echo"].tolist() == [b"other"]
        assert first.cancelled()

    run(main)


def test_an_idle_thread_waits_for_a_fuller_batch_while_another_runs():
    async def main(batcher: Batcher, model: Model) -> None:
        first = await occupied(batcher, model)
        tasks = [task(batcher, b"a"), task(batcher, b"b")]
        await asyncio.sleep(0.05)
        assert len(model.batches) == 1, "held back"
        tasks.append(task(batcher, b"c"))
        await until(lambda: len(model.batches) == 2)  # full
        model.gate.set()
        await asyncio.gather(*first, *tasks)

    model = run(main, max_batch_size=3, num_batch_threads=2, batch_timeout_micros=5_000_000)
    assert model.batches[1] == [b"a", b"b", b"c"]


def test_it_is_held_back_no_longer_than_told():
    async def main(batcher: Batcher, model: Model) -> None:
        first = await occupied(batcher, model)
        begun = time.perf_counter()
        late = task(batcher, b"a")
        await until(lambda: len(model.batches) == 2)
        assert 0.04 < time.perf_counter() - begun < 2
        model.gate.set()
        await asyncio.gather(*first, late)

    run(main, num_batch_threads=2, batch_timeout_micros=50_000)


def test_without_merging_each_request_is_a_call():
    async def main(batcher: Batcher, model: Model) -> None:
        await asyncio.gather(*(batcher.submit([b"a"] * size) for size in (1, 5, 2)))

    assert sorted(map(len, run(main, merge=False, max_batch_size=2).batches)) == [1, 2, 5]


def test_batches_are_observed():
    seen = []

    async def main() -> None:
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(
                Model(),
                executor,
                BatchingParameters(),
                observe=lambda size, seconds: seen.append((size, seconds >= 0)),
            )
            await asyncio.gather(batcher.submit([b"a"]), batcher.submit([b"b", b"c"]))

    asyncio.run(main())
    assert seen == [(3, True)]


@contextmanager
def file_of(tmp_path, text: str):
    path = tmp_path / "batching_parameters.txt"
    path.write_text(text)
    yield str(path)


def test_tf_servings_file(tmp_path):
    text = """
        max_batch_size { value: 128 }  # instances
        batch_timeout_micros { value: 1000 }
        max_enqueued_batches { value: 7 }
        num_batch_threads { value: 3 }
        thread_pool_name { value: "pool" }
        allowed_batch_sizes: [32, 128]
        pad_variable_length_inputs: true
    """
    with file_of(tmp_path, text) as path:
        assert BatchingParameters.read(path) == BatchingParameters(128, 1000, 7, 3)
    text += "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 32 }"
    with file_of(tmp_path, text) as path:
        assert BatchingParameters.read(path).max_batch_size == 32
    with file_of(tmp_path, "") as path:
        assert BatchingParameters.read(path) == BatchingParameters()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("\nmax_size { value: 1 }", r"2:1 .* has no field named \"max_size\".* Received: .*\.txt"),
        ("max_batch_size { value: many }", r"1:25 .*max_batch_size.*Couldn't parse integer: many"),
        ("max_batch_size: 3", r"is no BatchingParameters in protobuf's text format"),
        ("max_batch_size { value: 0 }", r"max_batch_size .* must be at least 1\. Received: 0"),
        ("num_batch_threads { }", r"num_batch_threads .* must be at least 1\. Received: 0"),
        ("batch_timeout_micros { value: -1 }", r"must not be negative\. Received: -1"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path, text, complaint):
    with file_of(tmp_path, text) as path, pytest.raises(ConfigError, match=complaint):
        BatchingParameters.read(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"--batching_parameters_file .*No such file.*none"):
        BatchingParameters.read(str(tmp_path / "none"))
