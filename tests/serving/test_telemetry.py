from __future__ import annotations

import io
import json
import threading
from datetime import datetime, timezone
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tfhub_transfer.serving.telemetry import Telemetry


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def samples(telemetry: Telemetry) -> dict[tuple[str, ...], float]:
    body, content_type = telemetry.exposition()
    assert content_type.startswith("text/plain; version=")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def ask(telemetry: Telemetry, **changes: Any) -> None:
    known = {"api": "rest", "method": "predict", "model": "m", "code": "OK", "seconds": 0.004}
    telemetry.request(**{**known, **changes})


def test_requests_are_counted_and_timed() -> None:
    telemetry = Telemetry(stream=io.StringIO())
    ask(telemetry)
    ask(telemetry, seconds=0.4)
    ask(telemetry, code="NOT_FOUND", model="")
    found = samples(telemetry)
    assert found["tfhub_transfer_requests_total", "rest", "OK", "predict", "m"] == 2
    assert found["tfhub_transfer_requests_total", "rest", "NOT_FOUND", "predict", ""] == 1
    seconds = "tfhub_transfer_request_seconds"
    assert found[f"{seconds}_bucket", "rest", "0.005", "predict", "m"] == 1
    assert found[f"{seconds}_bucket", "rest", "+Inf", "predict", "m"] == 2
    assert found[f"{seconds}_sum", "rest", "predict", "m"] == pytest.approx(0.404)


def test_batches_are_counted() -> None:
    telemetry = Telemetry(stream=io.StringIO())
    telemetry.batch(model="m", size=1, seconds=0.002)
    telemetry.batch(model="m", size=32, seconds=0.02)
    found = samples(telemetry)
    assert found["tfhub_transfer_batch_size_sum", "m"] == 33
    assert found["tfhub_transfer_batch_size_bucket", "16.0", "m"] == 1
    assert found["tfhub_transfer_batch_seconds_count", "m"] == 2


def test_each_has_its_own_registry() -> None:
    one, other = Telemetry(stream=io.StringIO()), Telemetry(stream=io.StringIO())
    ask(one)
    assert "tfhub_transfer_requests_total" not in {name for name, *_ in samples(other)}
    assert ("process_cpu_seconds_total",) in samples(other)


def test_a_request_is_one_line() -> None:
    stream = io.StringIO()
    ask(Telemetry(stream=stream), instances=2, version=3, texts=[b"secret"])
    (line,) = lines(stream)
    age = datetime.now(timezone.utc) - datetime.fromisoformat(line.pop("time"))
    assert 0 <= age.total_seconds() < 60
    assert line == {
        "level": "info",
        "event": "request",
        "api": "rest",
        "method": "predict",
        "model": "m",
        "code": "OK",
        "milliseconds": 4.0,
        "instances": 2,
        "version": 3,
    }


@pytest.mark.parametrize(
    ("code", "told"), [("INVALID_ARGUMENT", False), ("INTERNAL", False), ("NOT_FOUND", True)]
)
def test_texts_stay_out_of_the_log_unless_asked_for(code: str, told: bool) -> None:
    stream, talkative = io.StringIO(), io.StringIO()
    for telemetry in (
        Telemetry(stream=stream),
        Telemetry(stream=talkative, log_texts=True),
    ):
        ask(telemetry, code=code, error="not: secret", texts=[b"secret \xff"])
    assert ("error" in lines(stream)[0]) is told
    assert "texts" not in lines(stream)[0]
    (line,) = lines(talkative)
    assert (line["error"], line["texts"]) == ("not: secret", ["secret \ufffd"])
    assert line["level"] == ("error" if code == "INTERNAL" else "info")
    ask(Telemetry(stream=stream), code=code, error="too many", quotes_no_text=True)
    assert lines(stream)[-1]["error"] == "too many"


def test_the_texts_of_an_instance_stand_together() -> None:
    stream = io.StringIO()
    ask(Telemetry(stream=stream, log_texts=True), texts=[(b"who \xff", b"Ada")])
    assert lines(stream)[0]["texts"] == [["who \ufffd", "Ada"]]


def test_events() -> None:
    stream = io.StringIO()
    telemetry = Telemetry(stream=stream)
    telemetry.event("version_available", model="m", version=3)
    telemetry.event("version_failed", error=ValueError("no"))
    telemetry.event("http", level="WARNING", message="a\nb")
    available, failed, http = lines(stream)
    assert (available["event"], available["level"], available["version"]) == (
        "version_available",
        "info",
        3,
    )
    assert (failed["level"], failed["error"]) == ("error", "no")
    assert (http["level"], http["message"]) == ("warning", "a\nb")


def test_standard_error_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    Telemetry().event("listening")
    out, err = capsys.readouterr()
    assert (out, json.loads(err)["event"]) == ("", "listening")


def test_a_log_that_cannot_be_written_refuses_no_request() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    telemetry = Telemetry(stream=Full())
    ask(telemetry)
    telemetry._stream.close()
    ask(telemetry)
    assert samples(telemetry)["tfhub_transfer_log_lines_lost_total",] == 2


def test_lines_of_several_threads_stay_whole() -> None:
    stream = io.StringIO()
    telemetry = Telemetry(stream=stream)

    def work() -> None:
        for _ in range(200):
            ask(telemetry)
            telemetry.batch(model="m", size=1, seconds=0.001)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(stream)) == 800
    assert samples(telemetry)["tfhub_transfer_requests_total", "rest", "OK", "predict", "m"] == 800
