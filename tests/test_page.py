"""The page at `/` in a real Chromium: what a visitor sees and can do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.images.pictures import card
from tests.images.warm import PATIENT, warm_up
from tests.serving import Served, serving

WAIT_S = 30


def _have_chromium() -> bool:
    if shutil.which("chromium") and shutil.which("chromedriver"):
        return True
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium", "chromium-driver"]):
        subprocess.run(["apt-get", "-qq", *command], check=False, capture_output=True, timeout=600)
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(**PATIENT) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    if not _have_chromium():
        pytest.skip("Chromium is neither there nor to be installed by this user")
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1100,1400"):
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium") or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


def test_a_visitor_sees_scores_marked_spans_and_the_curl_line(browser: webdriver.Chrome, served: Served) -> None:
    browser.get(f"{served.url}/")
    area = browser.find_element(By.TAG_NAME, "textarea")
    area.clear()
    text = "The sea was calm 🙂. It's you again: go kill yourself, you worthless idiot. Bread was cheap."
    browser.execute_script(
        "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))", area, text
    )
    browser.find_element(By.CSS_SELECTOR, "#judge").click()
    WebDriverWait(browser, WAIT_S).until(lambda page: page.find_elements(By.TAG_NAME, "mark"))
    marked = " ".join(mark.text for mark in browser.find_elements(By.TAG_NAME, "mark"))
    assert "kill yourself" in " ".join(marked.split())
    assert "Bread was cheap" not in marked
    body = browser.find_element(By.TAG_NAME, "body").text
    assert "harassment" in body
    assert "curl" in body
    assert "/v1/moderate" in body


def test_an_image_is_judged_and_the_words_in_it_are_framed(
    browser: webdriver.Chrome, served: Served, tmp_path: Path
) -> None:
    warm_up(served)
    file = tmp_path / "it's a card.png"
    file.write_bytes(card("go kill yourself,\nyou worthless idiot", size=(512, 256)))
    browser.get(f"{served.url}/")
    browser.find_element(By.ID, "files").send_keys(str(file))
    WebDriverWait(browser, WAIT_S).until(lambda page: "base64 <" in page.find_element(By.ID, "curl").text)
    if shutil.which("curl"):  # the line does what it says
        command = browser.find_element(By.ID, "curl").text
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, capture_output=True, text=True)
        assert json.loads(done.stdout)["action"] == "block"
    browser.find_element(By.CSS_SELECTOR, "#judge").click()
    WebDriverWait(browser, WAIT_S).until(lambda page: page.find_elements(By.CLASS_NAME, "box"))
    assert browser.find_element(By.ID, "action").text.startswith("Block")
    picture, box = (
        browser.find_element(By.CSS_SELECTOR, ".picture img").rect,
        browser.find_element(By.CLASS_NAME, "box"),
    )
    assert picture["x"] <= box.rect["x"] and box.rect["x"] + box.rect["width"] <= picture["x"] + picture["width"] + 2
    assert picture["y"] <= box.rect["y"] and box.rect["y"] + box.rect["height"] <= picture["y"] + picture["height"] + 2
    assert not browser.find_element(By.ID, "text-result").is_displayed()
    browser.find_element(By.ID, "clear").click()
    WebDriverWait(browser, WAIT_S).until(lambda page: "base64" not in page.find_element(By.ID, "curl").text)
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_what_was_pasted_is_shown_as_text_and_never_run(browser: webdriver.Chrome, served: Served) -> None:
    browser.get(f"{served.url}/")
    area = browser.find_element(By.TAG_NAME, "textarea")
    hostile = "<img src=x onerror=\"document.title='pwned'\"> you worthless idiot, go kill yourself"
    browser.execute_script("arguments[0].value = arguments[1]", area, hostile)
    browser.find_element(By.CSS_SELECTOR, "#judge").click()
    WebDriverWait(browser, WAIT_S).until(lambda page: page.find_elements(By.TAG_NAME, "mark"))
    assert browser.title != "pwned"
    assert not browser.find_elements(By.CSS_SELECTOR, "img[src='x']")


def test_pages_load_nothing_from_elsewhere(browser: webdriver.Chrome, served: Served) -> None:
    for path in ("/", "/docs"):
        browser.get(f"{served.url}{path}")
        loaded = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
        assert all(name.startswith(served.url) for name in loaded), loaded
        severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert not [e for e in severe if "favicon" not in e["message"]], severe
