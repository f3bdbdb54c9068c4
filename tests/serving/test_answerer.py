"""A model of answers behind REST and gRPC, and on the page: two texts in, a stretch of one out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import tensorflow as tf
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tests.exported import write_answerer, write_artifact
from tests.serving.browser import chromium, screenshot, show
from tests.serving.running import Running, running, settings
from tfhub_transfer.artifact.predictor import Predictor

pytestmark = pytest.mark.slow

PAIRS = [
    ("who was great", "👩🏽‍🚀 the good film <b>was</b> (so) great!"),
    ("", ""),
    ("what", "the film was good and the film was bad . " * 8),
]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Base paths of a model of answers, of one that gives none, and of a classifier."""
    folder = tmp_path_factory.mktemp("saved_models")
    write_artifact(folder / "a-class" / "1")
    write_answerer(folder / "facts" / "1")
    write_answerer(folder / "silent" / "1", no_answer=-1e6)
    return {name: folder / name for name in ("a-class", "facts", "silent")}


@pytest.fixture(scope="module")
def server(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("config")
    models = "".join(
        f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" }}\n'
        for name, base in bases.items()
    )
    (folder / "models.config").write_text(f"model_config_list {{ {models} }}")
    # two questions go through together, and a request may have more
    (folder / "batching.txt").write_text("max_batch_size { value: 2 }")
    config = settings(
        None,
        model_config_file=str(folder / "models.config"),
        batching_parameters_file=str(folder / "batching.txt"),
        grace_seconds=0,
        max_text_bytes=1000,
    )
    with running(config) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.rest, timeout=30) as session:
        yield session


def answered(
    base: Path, pairs: list[tuple[str, str]], signature: str = "serving_default"
) -> dict[str, Any]:
    """Return what the artifact says, as JSON has it."""
    values = [(question.encode(), context.encode()) for question, context in pairs]
    outputs = Predictor.load(base / "1").run(values, signature)
    return {name: _plain(values.tolist()) for name, values in outputs.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return pytest.approx(value, abs=1e-5)
    return value.decode() if isinstance(value, bytes) else value


def instances(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"question": question, "context": context} for question, context in pairs]


@pytest.mark.parametrize("signature", ["serving_default", "n_best"])
def test_rows_and_columns(
    client: httpx.Client, bases: dict[str, Path], signature: str
) -> None:
    columns = answered(bases["facts"], PAIRS, signature)
    questions, contexts = map(list, zip(*PAIRS, strict=True))
    body = {"signature_name": signature, "inputs": {"question": questions, "context": contexts}}
    assert client.post("/v1/models/facts:predict", json=body).json() == {"outputs": columns}
    body = {"signature_name": signature, "instances": instances(PAIRS)}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    assert client.post("/v1/models/facts:predict", json=body).json() == {"predictions": rows}
    if signature == "serving_default":
        assert set(rows[0]) == {"answer", "score", "start", "end"}
        assert PAIRS[0][1][rows[0]["start"] : rows[0]["end"]] == rows[0]["answer"] != ""
        assert (rows[1]["answer"], rows[1]["start"], rows[1]["end"]) == ("", -1, -1)


def test_requests_of_many_clients_come_back_to_their_own(
    client: httpx.Client, bases: dict[str, Path]
) -> None:
    pairs = [("what", f"{'a ' * place}good film") for place in range(12)]
    expected = answered(bases["facts"], pairs)

    def ask(pair: tuple[str, str]) -> Any:
        body = {"instances": instances([pair])}
        return client.post("/v1/models/facts:predict", json=body).json()["predictions"][0]

    with ThreadPoolExecutor(8) as clients:
        found = list(clients.map(ask, pairs))
    assert [one["score"] for one in found] == expected["score"]
    assert [one["end"] for one in found] == expected["end"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"instances": ["who"]}, "instances is a plain list"),
        ({"instances": [{"question": "who"}]}, "keys must be equal to: context,question"),
        ({"inputs": {"context": ["a"]}}, "Missing named input: question"),
        (
            {"inputs": {"question": ["a"], "context": ["b", "c"]}},
            "Received: 1 of question, 2 of context",
        ),
        (
            {"instances": [{"question": "a" * 501, "context": "b" * 500}]},
            "1000 bytes in UTF-8 (--max_text_bytes). Received: 1001 bytes at index 0",
        ),
    ],
)
def test_what_is_refused_over_rest(client: httpx.Client, body: Any, error: str) -> None:
    answer = client.post("/v1/models/facts:predict", json=body)
    assert answer.status_code == 400
    assert error in answer.json()["error"]


def test_the_metadata_tell_what_it_is(client: httpx.Client) -> None:
    answer = client.get("/v1/models/facts/metadata").json()
    signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    inputs = {name: each["dtype"] for name, each in signature["inputs"].items()}
    assert inputs == {"question": "DT_STRING", "context": "DT_STRING"}
    assert {name: each["dtype"] for name, each in signature["outputs"].items()} == {
        "answer": "DT_STRING", "score": "DT_FLOAT", "start": "DT_INT32", "end": "DT_INT32"
    }  # fmt: skip


def predict(server: Running, **inputs: Any) -> Any:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "facts", "n_best"
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    with grpc.insecure_channel(server.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return stub.Predict(request, timeout=20).outputs


def test_over_grpc(server: Running, bases: dict[str, Path]) -> None:
    questions, contexts = map(list, zip(*PAIRS, strict=True))
    outputs = predict(server, question=questions, context=contexts)
    expected = answered(bases["facts"], PAIRS, "n_best")
    assert set(outputs) == set(expected)
    for name, values in expected.items():
        assert _plain(tf.make_ndarray(outputs[name]).tolist()) == [
            [item if isinstance(item, str | int) else pytest.approx(item.expected, abs=1e-5)
             for item in row] for row in values
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        (
            {"context": ["a"]},
            "input size does not match signature: 1!=2 len({context}) != len({context,question}). "
            "Sent extra: {}. Missing but required: {question}.",
        ),
        (
            {"context": ["a"], "text": ["b"]},
            "input tensor alias not found in signature: text. Inputs expected to be in the set "
            "{context,question}.",
        ),
        (
            {"context": ["a"], "question": ["b", "c"]},
            "must have equal 0th-dimension size. Received: 2 of question, 1 of context",
        ),
        ({"context": ["a"], "question": [1]}, "Expects arg[0] to be string but int32 is provided"),
    ],
)
def test_what_is_refused_over_grpc(server: Running, inputs: Any, error: str) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        predict(server, **inputs)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error in raised.value.details()


@pytest.fixture(scope="module")
def page(server: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        show(driver, 900)
        driver.get(server.rest)
        yield driver
        assert driver.get_log("browser") == []


def until(page: Chrome, name: str) -> None:
    WebDriverWait(page, 20, poll_frequency=0.05).until(
        lambda _: page.find_element(By.ID, name).is_displayed()
    )


def ask(page: Chrome, model: str, question: str, context: str, shown: str = "passage") -> None:
    """Type two texts of any characters, which a driver's keyboard has not, and ask."""
    Select(page.find_element(By.ID, "model")).select_by_visible_text(model)
    until(page, "question")
    for name, text in [("question", question), ("context", context)]:
        page.execute_script(
            "arguments[0].value = arguments[1]", page.find_element(By.ID, name), text
        )
    page.find_element(By.ID, "context").send_keys(Keys.CONTROL + Keys.ENTER)
    until(page, shown)


def test_the_page_marks_the_answer(page: Chrome, bases: dict[str, Path], tmp_path: Path) -> None:
    question, context = PAIRS[0]
    ask(page, "facts", question, context)
    outputs = Predictor.load(bases["facts"] / "1").run(
        [(question.encode(), context.encode())], "n_best"
    )
    expected = [
        (answer.decode(), f"{start}\u2013{end}", f"{100 * score:.1f}%")
        for answer, start, end, score in zip(
            *(outputs[name][0] for name in ("answers", "starts", "ends", "scores")), strict=True
        )
    ]
    assert page.find_element(By.ID, "label").text == expected[0][0]
    assert page.find_element(By.ID, "sure").text == expected[0][2]
    assert page.find_element(By.CSS_SELECTOR, "#passage-again mark").text == expected[0][0]
    again = page.execute_script("return document.getElementById('passage-again').textContent")
    assert again == context
    rows = page.find_elements(By.CSS_SELECTOR, "#answer-rows tr")
    cells = [tuple(cell.text for cell in row.find_elements(By.TAG_NAME, "td")) for row in rows]
    assert cells == expected
    for name in ("question", "context"):
        labels = page.find_elements(By.CSS_SELECTOR, f"label[for={name}]")
        assert [label.is_displayed() for label in labels] == [True]
    assert not page.find_element(By.ID, "text").is_displayed()
    command = page.find_element(By.ID, "curl").text
    body = {"signature_name": "n_best", "instances": instances([PAIRS[0]])}
    assert json.dumps(body, ensure_ascii=False, separators=(",", ":")) in command
    screenshot(page, tmp_path / "page.png")


def test_the_page_says_that_there_is_no_answer(page: Chrome) -> None:
    ask(page, "silent", "who", "the good film")
    assert page.find_element(By.ID, "label").text == "(no answer)"
    assert "finds no answer" in page.find_element(By.ID, "passage-state").text
    assert page.find_elements(By.CSS_SELECTOR, "#passage-again mark") == []
    first = page.find_element(By.CSS_SELECTOR, "#answer-rows tr").text
    assert first.startswith("(no answer) \u2013 ")


def test_the_page_asks_for_what_is_missing(page: Chrome) -> None:
    ask(page, "facts", "", "a film", shown="fault")
    assert "There is no question yet." in page.find_element(By.ID, "fault").text
    ask(page, "facts", "who", "", shown="fault")
    assert "There is no passage yet." in page.find_element(By.ID, "fault").text


def test_the_page_goes_back_to_one_text(page: Chrome) -> None:
    Select(page.find_element(By.ID, "model")).select_by_visible_text("a-class")
    until(page, "text")
    page.find_element(By.ID, "text").send_keys("a good film" + Keys.CONTROL + Keys.ENTER)
    until(page, "classes")
    assert not page.find_element(By.ID, "question").is_displayed()
    assert not page.find_element(By.ID, "passage").is_displayed()
