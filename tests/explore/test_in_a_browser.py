"""The page in a headless browser: sliders change the picture, which is torch's, and no request leaves the machine.

Needs gradio (`pip install "genprior[explore]"`), playwright's package (`pip install "genprior[browser]"`) and Debian's
chromium; skipped without them.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import importlib.util
import io
import os
import shutil
import statistics

import numpy as np
import pytest
import torch
from PIL import Image

from genprior import to_uint8
from genprior_explore.explorer import noise_of, open_explorer
from genprior_explore.pictures import enlarged

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")
CHROMIUM = os.environ.get("GENPRIOR_CHROMIUM") or shutil.which("chromium")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, as `apt-get install chromium` brings"),
    pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs the extra `explore`"),
]

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip

MOVE = """
([place, value]) => new Promise((done) => {
  const image = () => document.querySelector("#image-1 img");
  const slider = document.querySelector(`#${place} input[type=range]`);
  const before = image().src, start = performance.now();
  slider.value = value;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  const look = () => {
    const now = image();
    if (now && now.src !== before && now.complete && now.naturalWidth) done(performance.now() - start);
    else if (performance.now() - start > 20000) done(null);
    else setTimeout(look, 2);
  };
  look();
})
"""
READ = """
async (place) => {
  const content = await (await fetch(document.querySelector(`#${place} img`).src)).arrayBuffer();
  return btoa(String.fromCharCode(...new Uint8Array(content)));
}
"""


class Opened:
    """A page, with all that it says and asks for."""

    def __init__(self, browser, address, width):
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page = browser.new_context(viewport={"width": width, "height": 900}).new_page()
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)
        self.page.locator("#image-2 img").wait_for()
        self.page.wait_for_load_state("networkidle")

    def picture(self, place):
        content = base64.b64decode(self.page.evaluate(READ, place))
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.fixture(scope="module")
def opened(address):
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS), timeout=120_000)
        yield lambda width=1280: Opened(browser, address, width)
        browser.close()


def test_a_moved_slider_shows_the_picture_of_torch(opened, trained, record_property) -> None:
    page = opened()
    noise = noise_of(0)[:8].mul(1000).round().div(1000)
    milliseconds = []
    for value in (1.5, -2.0, 0.25, 3.0, -0.75):
        milliseconds.append(page.page.evaluate(MOVE, ["noise-2", value]))
        page.page.wait_for_timeout(100)
    record_property("milliseconds", milliseconds)
    assert None not in milliseconds
    assert statistics.median(milliseconds) < 200
    noise[1] = -0.75
    plain = open_explorer(trained / "plain" / "seed-0").run.model
    with torch.no_grad():
        expected = to_uint8(plain.decoder(noise[None, :4], torch.zeros(1, 0)))[0]
    assert np.array_equal(page.picture("image-1"), enlarged(expected))
    labelled = open_explorer(trained / "labelled" / "seed-0").run.model
    with torch.no_grad():
        condition = labelled.condition(torch.zeros(1), torch.tensor([0]))
        expected = to_uint8(labelled.decoder(torch.cat([condition.asked, noise[None, :4]], 1), condition.known))[0]
    assert np.array_equal(page.picture("image-2"), enlarged(expected))
    assert page.said == []
    home = page.page.url
    assert [url for url in page.asked if not url.startswith((home, "data:", "blob:"))] == []


@pytest.mark.parametrize("width", [1280, 390])
def test_walks_and_codes_are_shown_and_a_click_moves_the_code(opened, width) -> None:
    page = opened(width)
    page.page.get_by_role("tab", name="Walk").click()
    page.page.locator("#strip-2 img").wait_for()
    assert page.picture("strip-1").shape == (96, 9 * 96, 3)
    page.page.get_by_role("tab", name="Codes").click()
    page.page.locator("#map-1 img").wait_for()
    told = page.page.locator("#point-1")
    before = told.inner_text()
    box = page.page.locator("#map-1 img").bounding_box()
    page.page.mouse.click(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.3)
    page.page.wait_for_function(f"document.querySelector('#point-1').innerText !== {before!r}")
    assert "Points are test images. The cross is at (" in told.inner_text()
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.said == []
    assert [url for url in page.asked if not url.startswith((page.page.url, "data:", "blob:"))] == []


def test_pictures_have_names_and_sliders_labels(opened) -> None:
    page = opened().page
    assert page.locator("#image-1 img").get_attribute("alt") == "Image of plain, seed 0"
    assert page.locator("#noise-1 input[type=range]").get_attribute("aria-label")
    assert page.locator("#label input").get_attribute("aria-label") == "Label"


def test_new_noise_is_that_of_the_next_seed(opened) -> None:
    page = opened().page
    before = page.locator("#image-1 img").get_attribute("src")
    page.get_by_role("button", name="New noise").click()
    page.wait_for_function(f"document.querySelector('#image-1 img').src !== {before!r}")
    assert page.locator("#seed input").input_value() == "1"
    shown = float(page.locator("#noise-1 input[type=number]").input_value())
    assert shown == pytest.approx(float(noise_of(1)[0]), abs=1e-3)


def test_what_is_typed_by_mistake_is_told_once_in_words(opened) -> None:
    opened_page = opened()
    page, toasts = opened_page.page, opened_page.page.locator(".toast-message-text")
    seed = page.locator("#seed input")
    before = page.locator("#image-1 img").get_attribute("src")
    seed.fill("99999999999999999999")
    seed.press("Enter")
    toasts.first.wait_for()
    page.wait_for_load_state("networkidle")
    assert [each.strip() for each in toasts.all_inner_texts()] == [
        "100000000000000000000 is no seed; give a whole number from 0 to 9,007,199,254,740,991"
    ]
    page.locator(".toast-close").click()
    toasts.first.wait_for(state="detached")
    seed.fill("0")
    seed.press("Enter")
    slider = page.locator("#noise-1 input[type=number]")
    slider.fill("")  # as while a number is typed
    page.wait_for_function(f"document.querySelector('#image-1 img').src !== {before!r}")
    page.wait_for_load_state("networkidle")
    assert toasts.count() == 0 and opened_page.said == []


def test_another_host_is_refused(address) -> None:
    """A page of another site, whose name is made to point here, reads nothing."""
    for host, status in (("example.org", 400), ("localhost", 200)):
        with contextlib.closing(http.client.HTTPConnection(address.removeprefix("http://"))) as connection:
            connection.request("GET", "/", headers={"Host": host})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status
