"""A tagger behind REST and gRPC, and on the page: words, tags and places for a text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tests.exported import write_tagger
from tests.serving.browser import chromium, screenshot, show
from tests.serving.running import Running, running, settings
from tfhub_transfer.artifact.predictor import Predictor

pytestmark = pytest.mark.slow

TEXTS = ["call 👩🏽‍🚀 Ada, Lovelace!", "", "a film from Oslo (was) good bad awful great"]
INTENTS = ("ask", "tell", "thank")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Base paths of a model with a CRF and intents, and of one without either."""
    folder = tmp_path_factory.mktemp("saved_models")
    write_tagger(folder / "slots" / "1", intents=INTENTS, crf=True)
    write_tagger(folder / "names" / "1", seed=3)
    return {"slots": folder / "slots", "names": folder / "names"}


@pytest.fixture(scope="module")
def server(
    bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("config")
    models = "".join(
        f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" }}\n'
        for name, base in bases.items()
    )
    (folder / "models.config").write_text(f"model_config_list {{ {models} }}")
    # two texts go through together, and a request may have more
    (folder / "batching.txt").write_text("max_batch_size { value: 2 }")
    config = settings(
        None,
        model_config_file=str(folder / "models.config"),
        batching_parameters_file=str(folder / "batching.txt"),
        grace_seconds=0,
    )
    with running(config) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.rest, timeout=20) as session:
        yield session


def answered(base: Path, texts: list[str], signature: str = "serving_default") -> dict[str, Any]:
    """Return what the artifact says, as JSON has it."""
    outputs = Predictor.load(base / "1").run([text.encode() for text in texts], signature)
    return {name: _plain(values.tolist()) for name, values in outputs.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return pytest.approx(value, abs=1e-6)
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize("name", ["slots", "names"])
def test_rows_and_columns(client: httpx.Client, bases: dict[str, Path], name: str) -> None:
    for text in TEXTS:
        columns = answered(bases[name], [text])
        answer = client.post(f"/v1/models/{name}:predict", json={"inputs": [text]})
        assert answer.json() == {"outputs": columns}
        answer = client.post(f"/v1/models/{name}:predict", json={"instances": [text]})
        assert answer.json() == {"predictions": [{key: row[0] for key, row in columns.items()}]}
    assert ("intent" in columns) == (name == "slots")


def test_the_rows_of_a_request_have_one_width(client: httpx.Client, bases: dict[str, Path]) -> None:
    """Computed in two batches here, whose rows have different widths of their own."""
    answer = client.post("/v1/models/slots:predict", json={"instances": TEXTS})
    columns = answered(bases["slots"], TEXTS)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    assert answer.json() == {"predictions": rows}
    assert rows[0]["words"][6:] == rows[0]["tags"][6:] == [""] * 5
    assert rows[0]["words"][1] == "👩🏽‍🚀" and rows[0]["starts"][2] == 10


def test_words_that_are_parted_already(client: httpx.Client, bases: dict[str, Path]) -> None:
    text = "Ada  Love-lace, ( Oslo )"
    body = {"signature_name": "words", "instances": [text]}
    (row,) = client.post("/v1/models/slots:predict", json=body).json()["predictions"]
    assert row["words"] == text.split(" ")
    assert row == {key: rows[0] for key, rows in answered(bases["slots"], [text], "words").items()}


def test_the_metadata_tell_what_it_is(client: httpx.Client) -> None:
    answer = client.get("/v1/models/slots/metadata").json()
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) - {"__saved_model_init_op"} == {"serving_default", "words"}
    outputs = signatures["serving_default"]["outputs"]
    assert {name: each["dtype"] for name, each in outputs.items()} == {
        "words": "DT_STRING", "tags": "DT_STRING", "scores": "DT_FLOAT", "starts": "DT_INT32",
        "ends": "DT_INT32", "intent": "DT_STRING", "intent_score": "DT_FLOAT",
        "intent_probabilities": "DT_FLOAT",
    }  # fmt: skip


def test_it_does_not_classify(client: httpx.Client) -> None:
    answer = client.post("/v1/models/slots:classify", json={"examples": [{"text": "a film"}]})
    assert answer.status_code == 400
    assert "Expected classification signature method_name" in answer.json()["error"]


def test_over_grpc(server: Running, bases: dict[str, Path]) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "slots", "words"
    request.inputs["text"].CopyFrom(tf.make_tensor_proto(TEXTS[2:]))
    with grpc.insecure_channel(server.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        outputs = stub.Predict(request, timeout=10).outputs
    expected = Predictor.load(bases["slots"] / "1").run([TEXTS[2].encode()], "words")
    assert set(outputs) == set(expected)
    for name, values in expected.items():
        found = tf.make_ndarray(outputs[name])
        if values.dtype == object:
            assert found.tolist() == values.tolist()
        else:
            np.testing.assert_allclose(found, values, atol=1e-6)


@pytest.fixture(scope="module")
def page(server: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        show(driver, 900)
        driver.get(server.rest)
        yield driver
        assert driver.get_log("browser") == []


def ask(page: Chrome, model: str, text: str) -> None:
    """Type a text of any characters, which a driver's keyboard has not, and ask."""
    Select(page.find_element(By.ID, "model")).select_by_visible_text(model)
    field = page.find_element(By.ID, "text")
    page.execute_script("arguments[0].value = arguments[1]", field, text)
    field.send_keys(Keys.CONTROL + Keys.ENTER)
    WebDriverWait(page, 10, poll_frequency=0.05).until(
        lambda _: page.find_element(By.ID, "entities").is_displayed()
    )


def entities(base: Path, text: str) -> list[tuple[str, str, str]]:
    """Return text, type and score of the entities that the artifact's tags make up."""
    outputs = Predictor.load(base / "1")([text])
    found: list[tuple[str, int, list[int], list[float]]] = []
    for tag, score, start, end in zip(
        *(outputs[name][0].tolist() for name in ("tags", "scores", "starts", "ends")), strict=True
    ):
        prefix, _, kind = tag.decode().partition("-")
        if prefix == "B":
            found.append((kind, start, [end], [score]))
        elif prefix == "I":
            found[-1][2].append(end)
            found[-1][3].append(score)
    return [
        (text[start : ends[-1]], kind, f"{100 * np.mean(scores):.1f}%")
        for kind, start, ends, scores in found
    ]


@pytest.mark.parametrize("name", ["slots", "names"])
def test_the_page_marks_entities(
    page: Chrome, bases: dict[str, Path], tmp_path: Path, name: str
) -> None:
    text = TEXTS[0] + " <b>so</b> " + TEXTS[2]
    ask(page, name, text)
    expected = entities(bases[name], text)
    assert len(expected) > 2, "else the test says nothing"
    rows = page.find_elements(By.CSS_SELECTOR, "#entity-rows tr")
    cells = [tuple(cell.text for cell in row.find_elements(By.TAG_NAME, "td")) for row in rows]
    assert cells == expected
    marks = page.find_elements(By.CSS_SELECTOR, "#marked mark")
    assert [mark.find_element(By.TAG_NAME, "small").text for mark in marks] == [
        f"{kind} {score}" for _, kind, score in expected
    ]
    colours = {mark.value_of_css_property("border-bottom-color") for mark in marks}
    assert len(colours) == len({kind for _, kind, _ in expected}) > 1
    shown = page.execute_script(
        "const copy = document.getElementById('marked').cloneNode(true);"
        "copy.querySelectorAll('small').forEach((each) => each.remove()); return copy.textContent"
    )
    assert shown == text
    title = page.find_element(By.ID, "answer-title").text
    label = page.find_element(By.ID, "label").text
    outputs = Predictor.load(bases[name] / "1")([text])
    if name == "slots":
        assert (title, label) == ("Intent", outputs["intent"][0].decode())
        share = f"{100 * outputs['intent_score'][0]:.1f}%"
        assert page.find_element(By.ID, "sure").text == share
    else:
        assert (title, label) == ("Found", f"{len(expected)} entities")
    assert not page.find_element(By.ID, "reasons").is_displayed()
    assert f"/v1/models/{name}:predict" in page.find_element(By.ID, "curl").text
    screenshot(page, tmp_path / "page.png")


def test_the_page_says_where_there_is_nothing(page: Chrome) -> None:
    ask(page, "names", "  ")
    assert page.find_element(By.ID, "label").text == "no entities"
    assert "no entity in this text" in page.find_element(By.ID, "entities-state").text
    assert not page.find_element(By.ID, "found").is_displayed()
