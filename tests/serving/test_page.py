"""The page at `/`, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.serving.browser import chromium, requested, screenshot, show
from tests.serving.running import Running
from tfhub_transfer.serving.limits import Limits
from tfhub_transfer.serving.page import render


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def page(driver: Chrome, served: Running) -> Iterator[Chrome]:
    """The page, freshly loaded; afterwards, nothing has gone wrong behind it."""
    driver.get("about:blank")
    requested(driver), driver.get_log("browser")
    show(driver, 1100)
    driver.get(served.rest)
    until(driver, lambda: "version" in one(driver, "version").text)
    yield driver
    assert driver.get_log("browser") == []
    outside = [
        address
        for address in requested(driver)
        if not address.startswith((f"{served.rest}/", "data:", "about:"))
    ]
    assert outside == []


def one(driver: Chrome, name: str) -> WebElement:
    return driver.find_element(By.ID, name)


def until(driver: Chrome, condition) -> None:
    WebDriverWait(driver, 10, poll_frequency=0.05).until(lambda _: condition())


def type_and_ask(driver: Chrome, text: str) -> None:
    """Type where the cursor is when the page opens, and press Ctrl+Enter."""
    driver.switch_to.active_element.send_keys(text + Keys.CONTROL + Keys.ENTER)
    until(driver, lambda: one(driver, "classes").is_displayed())


def bars(driver: Chrome) -> dict[str, str]:
    return {
        bar.find_element(By.CLASS_NAME, "name").text: bar.find_element(By.CLASS_NAME, "value").text
        for bar in driver.find_elements(By.CSS_SELECTOR, "#bars li")
    }


def asked(served: Running, text: str) -> dict[str, float]:
    question = {"signature_name": "classify", "examples": [{"text": text}]}
    answer = httpx.post(f"{served.rest}/v1/models/reviews:classify", json=question)
    return dict(answer.json()["results"][0])


def test_label_bars_and_words_by_keyboard(page: Chrome, served: Running, tmp_path: Path) -> None:
    type_and_ask(page, "a good film, but long")
    scores = asked(served, "a good film, but long")
    top = max(scores, key=scores.__getitem__)
    assert one(page, "label").text == top
    assert one(page, "sure").text == f"{100 * scores[top]:.1f}%"
    assert bars(page) == {name: f"{100 * scores[name]:.1f}%" for name in bars(page)}
    assert sorted(bars(page)) == ["good", "poor"]
    assert next(iter(bars(page))) == top
    assert one(page, "timing").text.startswith("Answered in ")
    moved = {}
    for row in page.find_elements(By.CSS_SELECTOR, "#word-rows tr"):
        word, without, effect = (cell.text for cell in row.find_elements(By.TAG_NAME, "td"))
        moved[word] = (without, effect)
    left_out = asked(served, "a film, but long")[top]
    effect = 100 * (scores[top] - left_out)
    sign = "+" if effect > 0 else "\u2212"
    kind = "for" if effect > 0 else "against"
    assert moved["good"] == (f"{100 * left_out:.1f}%", f"{sign}{abs(effect):.1f} {kind}")
    assert set(moved) <= {"a", "good", "film", "but", "long"}
    marked = page.find_elements(By.CSS_SELECTOR, "#text-again .word")
    assert {word.text.split("\n")[0].rstrip("+\u22120123456789.") for word in marked} == set(moved)
    screenshot(page, tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000


def test_decorations_do_not_rely_on_colour(page: Chrome) -> None:
    type_and_ask(page, "good bad fine awful slow great dull sharp")
    styles = {
        kind: {
            word.value_of_css_property("text-decoration-style")
            for word in page.find_elements(By.CSS_SELECTOR, f"#text-again .{kind}")
        }
        for kind in ("for", "against")
    }
    assert styles == {"for": {"solid"}, "against": {"wavy"}}


def test_another_model(page: Chrome) -> None:
    Select(one(page, "model")).select_by_visible_text("topics")
    until(page, lambda: one(page, "version").text == "topics, version 1")
    one(page, "text").send_keys("a good film")
    one(page, "ask").click()
    until(page, lambda: one(page, "classes").is_displayed())
    assert len(bars(page)) == 10
    summary = one(page, "rest-title")
    assert summary.text == "The other 2 classes"
    summary.send_keys(Keys.ENTER)
    until(page, lambda: len(page.find_elements(By.CSS_SELECTOR, "#more-bars li")) == 2)
    assert all(bar.is_displayed() for bar in page.find_elements(By.CSS_SELECTOR, "#more-bars li"))


def test_rejected(page: Chrome) -> None:
    Select(one(page, "model")).select_by_visible_text("wary")
    one(page, "text").send_keys("a good film" + Keys.CONTROL + Keys.ENTER)
    until(page, lambda: one(page, "classes").is_displayed())
    assert one(page, "label").text == "unknown"
    name, share = next(iter(bars(page).items()))
    assert one(page, "rejected").text == (
        f"No class is sure enough to be named. The likeliest is {name} ({share})."
    )
    assert one(page, "sure").text == ""


def test_html_in_a_text_stays_text(page: Chrome) -> None:
    text = (
        "<img src=x onerror=alert(1)> <b>bold</b> & <script>document.title='hacked'</script> it's"
    )
    type_and_ask(page, text)
    assert page.title == "Try the models"
    assert page.find_elements(By.CSS_SELECTOR, "main img, main b, main script") == []
    shown = page.execute_script(
        "const copy = document.getElementById('text-again').cloneNode(true);"
        "copy.querySelectorAll('sup').forEach((sup) => sup.remove()); return copy.textContent"
    )
    assert shown == text


def test_curl_asks_the_same(page: Chrome, served: Running) -> None:
    type_and_ask(page, 'it\'s "good"')
    command = one(page, "curl").text
    assert f"'{served.rest}/v1/models/reviews:predict'" in command
    assert r"""-d '{"instances":["it'\''s \"good\""]}'""" in command
    one(page, "copy").click()
    until(page, lambda: one(page, "copied").text)


def test_tab_reaches_everything_in_order(page: Chrome) -> None:
    type_and_ask(page, "a good film")
    reached = []
    for _ in range(4):
        page.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(page.switch_to.active_element.get_attribute("id"))
    assert reached == ["ask", "text-again", "copy", "curl"]
    for control in ("text", "model"):
        assert page.find_elements(By.CSS_SELECTOR, f"label[for={control}]")
    assert one(page, "said").get_attribute("role") == "status"


def test_too_many_words_are_said_to_be(page: Chrome) -> None:
    page.execute_script("arguments[0].value = 'word '.repeat(300)", one(page, "text"))
    one(page, "ask").click()
    until(page, lambda: one(page, "classes").is_displayed())
    assert "Only the first 199 of 300 words were tried" in one(page, "words-state").text


def test_errors_in_words(page: Chrome) -> None:
    one(page, "ask").click()
    until(page, lambda: one(page, "fault").is_displayed())
    assert "There is no text yet." in one(page, "fault").text
    page.execute_script("arguments[0].value = 'x'.repeat(50001)", one(page, "text"))
    one(page, "ask").click()
    until(page, lambda: "too long" in one(page, "fault").text)
    assert "50,001 bytes; 50,000 are accepted" in one(page, "fault").text
    assert not one(page, "answer").is_displayed()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone(page: Chrome, tmp_path: Path, scheme: str) -> None:
    show(page, 360, scheme=scheme)
    type_and_ask(page, "a good film " + "unbreakable" * 12)
    widths = page.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert widths == [360, 360]
    backgrounds = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert backgrounds == {"light": "rgb(246, 246, 243)", "dark": "rgb(20, 23, 26)"}[scheme]
    screenshot(page, tmp_path / "phone.png")


def test_policy_allows_only_what_is_in_the_page() -> None:
    page = render(["a</script><b>"], Limits())
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy and "http" not in policy
    assert b"a\\u003c/script>" in page.html and b"a</script>" not in page.html
    assert b"innerHTML" not in page.html and b"//cdn" not in page.html
    assert b"{/* facts */}" not in page.html
