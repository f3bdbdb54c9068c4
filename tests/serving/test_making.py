from __future__ import annotations

import asyncio
import threading

import httpx

from tests.exported import write_artifact
from tests.serving.running import running, settings
from tfhub_transfer.serving.making import made


def test_only_large_answers_are_made_in_a_thread() -> None:
    async def main() -> list[bool]:
        here = threading.get_ident()
        return [await made(threading.get_ident, size) == here for size in (1, 20_000, 20_001)]

    assert asyncio.run(main()) == [True, True, False]


def test_large_answers_are_the_same_as_small_ones(tmp_path) -> None:
    labels = [f"label {number}" for number in range(300)]
    write_artifact(tmp_path / "many" / "1", labels=labels)
    texts = [f"text {number}" for number in range(100)]
    config = settings(tmp_path / "many", port=0, grace_seconds=0)
    with running(config) as server, httpx.Client(base_url=server.rest, timeout=30) as client:

        def classified(some: list[str]) -> list[object]:
            examples = [{"text": text} for text in some]
            body = {"signature_name": "classify", "examples": examples}
            return client.post("/v1/models/film:classify", json=body).json()["results"]

        def predicted(some: list[str]) -> list[object]:
            answer = client.post("/v1/models/film:predict", json={"instances": some})
            return answer.json()["predictions"]

        every = classified(texts)
        assert [[label for label, _ in row] for row in every] == [labels] * 100
        assert [row["probabilities"] for row in predicted(texts)] == [
            [score for _, score in row] for row in every
        ]
        assert [[label for label, _ in row] for row in classified(texts[:3])] == [labels] * 3
