"""The site builds strictly, and in a headless browser its pages ask nothing of the network and fit narrow screens.

Needs the extra `docs`; the browser, playwright's package and Debian's chromium too. Skipped without them.
"""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from .pages import SITE, module

pytestmark = pytest.mark.slow

CHROMIUM = os.environ.get("GENPRIOR_CHROMIUM") or shutil.which("chromium")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    for name in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(name, reason=f"{name} is not installed; the extra `docs` has it")
    out = tmp_path_factory.mktemp("site") / "built"
    # A proxy that nobody listens on: what asks the network fails.
    environment = os.environ | {
        "NO_MKDOCS_2_WARNING": "1",
        "http_proxy": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(SITE / "mkdocs.yml"), "-d", str(out)],
        capture_output=True, text=True, env=environment, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return out


def test_every_page_is_built_also_as_markdown(site: Path) -> None:
    generated = module("generated")
    pages = {*generated.pages(), *(file.name for file in generated.DOCS.glob("*.md"))}
    assert len(pages) > 150
    for page in pages:
        assert (site / page).with_suffix(".html").exists() and (site / page).exists(), page
    assert (site / "llms.txt").exists() and not list(site.glob("site/*.py"))


def test_docstrings_are_in_the_reference(site: Path) -> None:
    text = (site / "reference" / "parts.html").read_text(encoding="utf-8")
    assert 'id="genprior.parts.priors.Prior"' in text and "The distribution of codes" in text


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")
    if CHROMIUM is None:
        pytest.skip("needs chromium, as `apt-get install chromium` brings")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(site: Path):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_no_page_asks_the_network_and_all_fit_a_narrow_screen(site: Path, address: str, browser) -> None:
    asked, said, wide = [], [], []
    page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    pages = [file for file in sorted(site.rglob("*.html")) if "source" not in file.parts]
    for file in pages:
        page.goto(f"{address}/{file.relative_to(site).as_posix()}", wait_until="load")
        if page.evaluate("document.documentElement.scrollWidth > window.innerWidth + 1"):
            wide.append(file.name)
        broken = (
            "[...document.images].filter(i => i.loading != 'lazy' && i.complete && !i.naturalWidth).map(i => i.src)"
        )
        assert page.evaluate(broken) == [], file.name
    assert len(pages) > 80
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert (said, wide) == ([], [])


def test_search_finds_a_part(address: str, browser) -> None:
    page = browser.new_page()
    page.goto(f"{address}/index.html")
    page.keyboard.press("/")
    page.keyboard.type("vampprior")
    page.wait_for_selector(".md-search-result__item", timeout=60_000)
    assert "vampprior" in page.inner_text(".md-search-result__list").lower()


def test_dark_and_light_differ_and_are_readable(address: str, browser) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(f"{address}/concepts.html")
        colours[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert page.get_attribute("img[src*='phases']", "alt")
    assert colours["light"] == "rgb(255, 255, 255)" and colours["dark"] != colours["light"]
