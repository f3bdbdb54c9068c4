"""Requests of many clients go through the model together.

While a batch is in the model, requests queue up, and the next batch takes as many as fit. A request
that finds the model idle starts at once: a client that is alone never waits for company, and the
batches grow by themselves with the load. TF Serving (`SharedBatchScheduler`) holds a request back
for `batch_timeout_micros` even when nothing runs; here that is how long a request may be held back
while another batch runs and a thread is idle, where a fuller batch is worth having. With one thread
it means nothing.

A request of more than `max_batch_size` instances goes as several batches, as with TF Serving's
`enable_large_batch_splitting`. Where outputs are as wide as the longest text of their batch, the
parts are padded to one width, with empty strings and zeros as a tagger pads them; there TF Serving
would crash (`tensor::Concat`). A full queue refuses at once.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from tfhub_transfer.artifact.predictor import Instance
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.serving import text_format
from tfhub_transfer.serving.status import Code, ServingError

Outputs = dict[str, np.ndarray]
Run = Callable[[Sequence[Instance]], Outputs]

_LONGEST_MESSAGE = 1000  # characters of an error, which may quote a whole text


@dataclass(frozen=True)
class BatchingParameters:
    """How batches are made.

    Attributes:
        max_batch_size: instances that go through the model together.
        batch_timeout_micros: how long a request is held back for a fuller batch, while another
            batch runs and a thread is idle.
        max_enqueued_batches: the queue holds so many times `max_batch_size` instances.
        num_batch_threads: batches at a time, over all models.
    """

    max_batch_size: int = 64
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 100
    num_batch_threads: int = max(1, (os.cpu_count() or 1) // 2)

    def __post_init__(self) -> None:
        for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"{name} of the batching parameters must be at least 1. "
                    f"Received: {getattr(self, name)}"
                )
        if self.batch_timeout_micros < 0:
            raise ConfigError(
                f"batch_timeout_micros of the batching parameters must not be negative. "
                f"Received: {self.batch_timeout_micros}"
            )

    @classmethod
    def read(cls, path: str) -> BatchingParameters:
        """Read TF Serving's file of `--batching_parameters_file`.

        Fields about padding and the name of the thread pool are accepted and change nothing. Where
        the file sets `max_execution_batch_size`, that is the size of a batch, as it is in TF
        Serving, where `max_batch_size` then bounds a request; here `--max_instances` does.

        Raises:
            ConfigError: it is none, or a value is out of range.
        """
        message = text_format.read(
            path, text_format.batching_parameters(), "batching_parameters_file"
        )
        values = {field.name: value for field, value in message.ListFields()}
        size = values.get("max_execution_batch_size", values.get("max_batch_size"))
        given = {
            name: values[name].value
            for name in ("batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
            if name in values
        }
        if size is not None:
            given["max_batch_size"] = size.value
        return cls(**given)


class _Waiting:
    """A request, or a part of a large one, in the queue."""

    __slots__ = ("arrived", "future", "values")

    def __init__(
        self, values: Sequence[Instance], future: asyncio.Future[Outputs], arrived: float
    ):
        self.values = values
        self.future = future
        self.arrived = arrived


class Batcher:
    """The queue before one signature of one version; belongs to the running event loop.

    Args:
        run: values to outputs, each with one row for a value; called in a thread.
        executor: where; it has `parameters.num_batch_threads` threads.
        parameters: how batches are made.
        observe: is told of each batch its instances and seconds, in the event loop.
        merge: off, each request is a batch of its own, however large.
    """

    def __init__(
        self,
        run: Run,
        executor: Executor,
        parameters: BatchingParameters,
        *,
        observe: Callable[[int, float], None] = lambda size, seconds: None,
        merge: bool = True,
    ):
        self._run = run
        self._executor = executor
        self._threads = parameters.num_batch_threads
        self._size = parameters.max_batch_size
        self._hold = parameters.batch_timeout_micros / 1e6 if merge else 0.0
        self._capacity = parameters.max_batch_size * parameters.max_enqueued_batches
        self._observe = observe
        self._merge = merge
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Waiting] = deque()
        self._queued = 0  # instances in the queue
        self._running = 0  # batches in threads
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Future[None] | None = None

    async def submit(self, values: Sequence[Instance]) -> Outputs:
        """Return the outputs for `values`, one row each, in their order.

        Raises:
            ServingError: the queue is full, or the model refuses the values.
        """
        count = len(values)
        # A request that is larger than the queue has its chance while the queue is empty.
        if self._queued and self._queued + count > self._capacity:
            self._drop_cancelled()
            if self._queued and self._queued + count > self._capacity:
                raise ServingError(
                    Code.RESOURCE_EXHAUSTED,
                    f"The batching queue is full: it holds {self._capacity} instances, "
                    f"{self._queued} wait, and the request has {count}. Try again later.",
                )
        if not self._merge or count <= self._size:
            return await self._enqueue(values)
        starts = range(0, count, self._size)
        parts = [self._enqueue(values[start : start + self._size]) for start in starts]
        try:
            rows = await asyncio.gather(*parts)
        except BaseException:
            for part in parts:
                part.cancel()
            raise
        return {alias: _joined([part[alias] for part in rows]) for alias in rows[0]}

    async def emptied(self) -> None:
        """Return when nothing waits and nothing runs any more."""
        while self._queue or self._running:
            if self._emptied is None:
                self._emptied = self._loop.create_future()
            await asyncio.shield(self._emptied)

    def _enqueue(self, values: Sequence[Instance]) -> asyncio.Future[Outputs]:
        future: asyncio.Future[Outputs] = self._loop.create_future()
        self._queue.append(_Waiting(values, future, self._loop.time()))
        self._queued += len(values)
        if not self._scheduled and self._running < self._threads:
            # Not now but after what else has arrived with it, which so comes into the same batch.
            self._scheduled = True
            self._loop.call_soon(self._dispatch)
        return future

    def _dispatch(self) -> None:
        self._scheduled = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue and self._running < self._threads:
            if self._running and self._hold and self._queued < self._size:
                left = self._queue[0].arrived + self._hold - self._loop.time()
                if left > 0:
                    self._timer = self._loop.call_later(left, self._dispatch)
                    return
            batch = self._next_batch()
            if batch:
                self._running += 1
                self._executor.submit(self._work, batch)
        self._tell_if_empty()

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        room = self._size
        while self._queue:
            size = len(self._queue[0].values)
            if batch and (size > room or not self._merge):
                break
            waiting = self._queue.popleft()
            self._queued -= size
            if not waiting.future.cancelled():
                batch.append(waiting)
                room -= size
        return batch

    def _drop_cancelled(self) -> None:
        self._queue = deque(one for one in self._queue if not one.future.cancelled())
        self._queued = sum(len(one.values) for one in self._queue)

    def _work(self, batch: list[_Waiting]) -> None:
        """Run in a thread."""
        begun = time.perf_counter()
        answers = _answers(self._run, [waiting.values for waiting in batch])
        seconds = time.perf_counter() - begun
        self._loop.call_soon_threadsafe(self._finish, batch, answers, seconds)

    def _finish(
        self, batch: list[_Waiting], answers: list[Outputs | ServingError], seconds: float
    ) -> None:
        self._running -= 1
        size = 0
        for waiting, answer in zip(batch, answers, strict=True):
            size += len(waiting.values)
            if waiting.future.done():
                continue
            if isinstance(answer, ServingError):
                waiting.future.set_exception(answer)
            else:
                waiting.future.set_result(answer)
        self._observe(size, seconds)
        self._dispatch()

    def _tell_if_empty(self) -> None:
        if self._emptied is not None and not self._queue and not self._running:
            self._emptied.set_result(None)
            self._emptied = None


def _answers(run: Run, requests: list[Sequence[Instance]]) -> list[Outputs | ServingError]:
    """Return each request's rows; where all together fail, each is tried by itself."""
    values = requests[0] if len(requests) == 1 else [value for one in requests for value in one]
    try:
        outputs = run(values)
    except Exception as error:  # whatever it is, its clients are told
        if len(requests) == 1:
            return [_refusal(error)]
        return [_answers(run, [one])[0] for one in requests]
    if len(requests) == 1:
        return [outputs]
    answers: list[Outputs | ServingError] = []
    start = 0
    for one in requests:
        end = start + len(one)
        answers.append({alias: rows[start:end] for alias, rows in outputs.items()})
        start = end
    return answers


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the rows of all parts, padded to the widest."""
    widest = tuple(np.max([part.shape[1:] for part in parts], axis=0).astype(int))
    if all(part.shape[1:] == widest for part in parts):
        return np.concatenate(parts)
    rows = [len(part) for part in parts]
    padding = b"" if parts[0].dtype == object else 0
    joined = np.full((sum(rows), *widest), padding, parts[0].dtype)
    for end, part in zip(np.cumsum(rows), parts, strict=True):
        joined[(slice(end - len(part), end), *map(slice, part.shape[1:]))] = part
    return joined


def _refusal(error: Exception) -> ServingError:
    """Return an error of the model as the server tells it: TensorFlow's have a gRPC code."""
    if isinstance(error, UnicodeDecodeError):
        # TensorFlow quotes the bytes it refuses, and its Python cannot decode its own message then.
        given = error.object[:_LONGEST_MESSAGE].decode("utf-8", "replace")
        return ServingError(Code.INVALID_ARGUMENT, given)
    code = getattr(error, "error_code", None)
    message = str(getattr(error, "message", "") or error or type(error).__name__)
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:_LONGEST_MESSAGE]}..."
    try:
        return ServingError(Code(code), message)
    except ValueError:
        return ServingError(Code.INTERNAL, f"{type(error).__name__}: {message}")
