"""The server as a whole: its flags, its ports, its start and its end."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tests.serving.running import SECONDS, TEXTS, deploy, expected, running, settings
from tfhub_transfer import cli, serve
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.serving.settings import ServeConfig

pytestmark = pytest.mark.slow

BODY = json.dumps({"instances": list(TEXTS)}).encode()


@pytest.fixture
def base(tmp_path) -> Path:
    base = tmp_path / "film"
    base.mkdir()
    deploy(base, 3)
    return base


def post(url: str, body: bytes = BODY) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url, body, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def probabilities(answer: Any) -> list[list[float]]:
    return [row["probabilities"] for row in answer["predictions"]]


def test_both_apis_give_the_same(base):
    with running(settings(base)) as server:
        status, answer = post(f"{server.rest}/v1/models/film:predict")
        assert status == 200
        np.testing.assert_allclose(probabilities(answer), expected(), atol=1e-6)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "film"
        request.inputs["text"].CopyFrom(tf.make_tensor_proto(list(TEXTS)))
        with grpc.insecure_channel(server.grpc) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            outputs = stub.Predict(request, timeout=10).outputs
        np.testing.assert_allclose(
            tf.make_ndarray(outputs["probabilities"]), probabilities(answer), atol=1e-6
        )
        (batch, _) = server.log.events("request")
        assert batch["instances"] == len(TEXTS)
        address = re.escape(server.rest)
        assert re.fullmatch(
            rf"serving film version 3: REST {address}/v1/models/film, gRPC {server.grpc}, "
            rf"page {address}/",
            server.server.addresses(),
        )


def test_without_batching_and_without_rest(base):
    with running(settings(base, rest_api_port=0, enable_batching=False)) as server:
        assert server.server.rest_port == 0
        assert server.server.addresses() == f"serving film version 3: gRPC {server.grpc}"


def test_several_models_without_grpc(base, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    deploy(other, 1, 2.0)
    file = tmp_path / "models.config"
    file.write_text(
        f'model_config_list {{ config {{ name: "film" base_path: "{base}" }} '
        f'config {{ name: "other" base_path: "{other}" }} }}'
    )
    with running(settings(None, model_config_file=str(file), port=0)) as server:
        assert server.server.grpc_port == 0
        for name, bias in (("film", 0.0), ("other", 2.0)):
            _, answer = post(f"{server.rest}/v1/models/{name}:predict")
            np.testing.assert_allclose(probabilities(answer), expected(bias), atol=1e-6)
        assert server.server.addresses().startswith("serving film version 3, other version 1: ")


def test_a_full_queue_is_a_429_at_once(base, tmp_path):
    file = tmp_path / "batching.txt"
    file.write_text("max_batch_size { value: 4 } max_enqueued_batches { value: 1 }")
    with running(settings(base, port=0, batching_parameters_file=str(file))) as server:
        held = threading.Event()
        try:
            for _ in range(os.cpu_count() or 1):
                server.server.models._workers.submit(held.wait, SECONDS)
            url = f"{server.rest}/v1/models/film:predict"
            clients = [threading.Thread(target=post, args=(url,)) for _ in range(12)]
            for client in clients:
                client.start()
            deadline = time.monotonic() + SECONDS
            refused = []
            while not refused and time.monotonic() < deadline:
                time.sleep(0.05)
                refused = [one for one in server.log.events("request") if one["code"] != "OK"]
            assert refused[0]["code"] == "RESOURCE_EXHAUSTED"
            assert refused[0]["milliseconds"] < 1000
            begun = time.monotonic()
            status, answer = post(url)
            assert status == 429
            assert "queue is full" in answer["error"]
            assert time.monotonic() - begun < 2
        finally:
            held.set()
            for client in clients:
                client.join(SECONDS)


def test_a_request_that_takes_too_long(base):
    with running(settings(base, port=0, rest_api_timeout_in_ms=150)) as server:
        held = threading.Event()
        url = f"{server.rest}/v1/models/film:predict"
        try:
            for _ in range(os.cpu_count() or 1):
                server.server.models._workers.submit(held.wait, SECONDS)
            status, answer = post(url)
            assert status == 504
            assert answer["error"].startswith("The request took more than 150 ms")
        finally:
            held.set()
        assert post(url)[0] == 200
        codes = [event["code"] for event in server.log.events("request")]
        assert codes == ["DEADLINE_EXCEEDED", "OK"]


def test_a_body_that_never_ends_is_given_up(base):
    config = settings(base, port=0, rest_api_timeout_in_ms=150)
    with running(config) as server:
        address = ("127.0.0.1", server.server.rest_port)
        with socket.create_connection(address, timeout=10) as client:
            client.sendall(
                b"POST /v1/models/film:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"
            )
            answer = b""
            while chunk := client.recv(1000):
                answer += chunk
        assert answer.startswith(b"HTTP/1.1 504")


@pytest.mark.parametrize("flag", ["port", "rest_api_port"])
def test_a_port_that_is_taken(base, flag):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        complaint = rf"--{flag}: another process listens there.* Received: 127\.0\.0\.1:{port}$"
        with pytest.raises(ConfigError, match=complaint), running(settings(base, **{flag: port})):
            pass


def test_a_port_that_is_taken_is_told_before_tensorflow_is_imported(monkeypatch, capsys):
    def imported() -> None:
        raise AssertionError

    monkeypatch.setattr(cli, "import_tensorflow", imported)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for flag in ("--port", "--rest_api_port"):
            flags = ["--model_base_path=a", "--port=0", "--rest_api_port=-1", f"{flag}={port}"]
            with pytest.raises(ConfigError, match=f"{flag}: another process listens there"):
                serve.main(flags)
    loaded = "import sys, tfhub_transfer.serving.ports; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", loaded], check=True, timeout=60)


def test_a_host_that_is_none(base):
    complaint = r"--host: .* Received: no\.such\.host\.invalid"
    with (
        pytest.raises(ConfigError, match=complaint),
        running(settings(base, host="no.such.host.invalid")),
    ):
        pass


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model_base_path": None}, "give --model_base_path, .* Received: neither"),
        ({"model_name": "a/b"}, r"Received: --model_name 'a/b'"),
        ({"port": 65536}, r"--port must be from 1 to 65535, .* Received: 65536"),
        ({"rest_api_port": -2}, r"--rest_api_port must be .* Received: -2"),
        ({"port": 8501}, r"cannot share a port.*Received: --port 8501 --rest_api_port 8501"),
        ({"port": 0, "rest_api_port": 0}, r"one of them has to be on"),
        ({"max_instances": 0}, r"--max_instances must be at least 1\. Received: 0"),
        ({"grace_seconds": -1}, r"--grace_seconds must not be negative\. Received: -1"),
        ({"grace_seconds": float("nan")}, r"--grace_seconds must not be negative\. Received: nan"),
    ],
)
def test_settings_that_are_refused(changes, complaint):
    with pytest.raises(ConfigError, match=complaint):
        ServeConfig(**{"model_base_path": "x", **changes})


def test_threads_are_told_to_tensorflow():
    config = ServeConfig(model_base_path="x", tensorflow_intra_op_parallelism=3)
    assert config.environment() == {"TF_NUM_INTRAOP_THREADS": "3"}


def test_flags_are_those_of_tensorflow_model_server(monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr("tfhub_transfer.serving.server.serve", lambda c: given.append(c) or 0)
    monkeypatch.setattr(cli, "import_tensorflow", lambda: None)
    flags = ["--model_name=a", "--model_base_path=b", "--port=1", "--rest_api_port=2",
             "--enable_batching=false", "--rest_api_timeout_in_ms=7", "--max_num_load_retries=3",
             "--file_system_poll_wait_seconds=0", "--load_retry_interval_micros=-1",
             "--enable_model_warmup=false", "--allow_version_labels_for_unavailable_models",
             "--batching_parameters_file=c"]  # fmt: skip
    assert serve.main(flags) == 0
    (config,) = given
    assert config == ServeConfig(
        "a", "b", port=1, rest_api_port=2, enable_batching=False, rest_api_timeout_in_ms=7,
        max_num_load_retries=3, file_system_poll_wait_seconds=0, load_retry_interval_micros=-1,
        enable_model_warmup=False, batching_parameters_file="c",
    )  # fmt: skip


class Client:
    """Asks again and again over kept-alive connections until nobody listens any more."""

    def __init__(self, port: int):
        self.port = port
        self.right = 0
        self.lost: list[str] = []
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
            try:
                connection.connect()
            except ConnectionRefusedError:
                return
            try:
                closing = False
                while not closing:
                    connection.request("POST", "/v1/models/film:predict", BODY)
                    answer = connection.getresponse()
                    closing = answer.getheader("connection") == "close"
                    rows = probabilities(json.loads(answer.read()))
                    if not np.allclose(rows, expected(), atol=1e-5):
                        raise ValueError(rows)
                    self.right += 1
            except Exception as error:
                self.lost.append(repr(error))
                return
            finally:
                connection.close()


def loads_for_ever(base: Path, number: int) -> None:
    """Deploy a version that is a pipe in part, which nobody writes to."""
    writing = base / ".writing"
    shutil.copytree(base / "3", writing)
    labels = writing / "assets" / "labels.txt"
    labels.unlink()
    os.mkfifo(labels)
    writing.rename(base / str(number))


def until_loading(url: str) -> None:
    deadline = time.monotonic() + SECONDS
    while '"LOADING"' not in json.dumps(post(url, None)[1]):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_sigterm_under_load_loses_nothing_and_ends_what_hangs(base):
    expected()
    command = [sys.executable, "-m", "tfhub_transfer.serve", "--model_name", "film",
               "--model_base_path", str(base), "--port", "-1", "--rest_api_port", "-1"]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    lines: list[str] = []
    listening = threading.Event()

    def read() -> None:
        for line in process.stderr:
            lines.append(line)
            if line.startswith("serving "):
                listening.set()
        listening.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert listening.wait(60), lines
        (line,) = [line for line in lines if line.startswith("serving ")]
        found = re.fullmatch(
            r"serving film version 3: REST http://127\.0\.0\.1:(\d+)/v1/models/film, "
            r"gRPC 127\.0\.0\.1:\d+, page http://127\.0\.0\.1:\1/\n",
            line,
        )
        assert found, line
        clients = [Client(int(found[1])) for _ in range(8)]
        time.sleep(0.5)
        loads_for_ever(base, 4)
        until_loading(f"http://127.0.0.1:{found[1]}/v1/models/film/versions/4")
        before = sum(client.right for client in clients)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        status, answer = post(f"http://127.0.0.1:{found[1]}/readyz", None)
        assert (status, answer["error"]) == (503, "Not ready: the server is stopping")
        for client in clients:
            client.thread.join(SECONDS)
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        reader.join(SECONDS)
        process.stderr.close()
    assert [client.lost for client in clients] == [[]] * 8
    assert before > 0
    assert sum(client.right for client in clients) > before


def test_stopping_under_load_of_grpc_answers_or_sends_elsewhere(base):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "film"
    request.inputs["text"].CopyFrom(tf.make_tensor_proto(list(TEXTS)))
    right: list[int] = []
    ends: list[tuple[str, str]] = []

    def client(address: str) -> None:
        with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while True:
                try:
                    outputs = stub.Predict(request, timeout=SECONDS).outputs
                except grpc.RpcError as error:
                    ends.append((error.code().name, error.details()))
                    return
                rows = tf.make_ndarray(outputs["probabilities"])
                right.append(np.allclose(rows, expected(), atol=1e-5))

    expected()
    with running(settings(base, rest_api_port=0, grace_seconds=10)) as server:
        clients = [threading.Thread(target=client, args=(server.grpc,)) for _ in range(8)]
        for one in clients:
            one.start()
        time.sleep(0.3)
        before = len(right)
    for one in clients:
        one.join(SECONDS)
    assert set(ends) == {("UNAVAILABLE", "The server is stopping; ask another one.")}
    assert before > 0
    assert len(right) > before
    assert all(right)
