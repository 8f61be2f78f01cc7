"""The report in a headless browser: plots are drawn, sliders change pictures, and no request leaves the machine.

Needs playwright's package (`pip install "genprior[browser]"`) and Debian's chromium; skipped without them.
"""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest

from genprior_report.report import write_report

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")
CHROMIUM = os.environ.get("GENPRIOR_CHROMIUM") or shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, as `apt-get install chromium` brings")

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def file(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("browser") / "report.html"
    write_report([trained], out)
    return out


class Opened:
    """A page, with all that it says and asks for."""

    def __init__(self, browser, file, *, width=1200, scheme="light", before="", **settings):
        self.said: list[str] = []
        self.asked: list[str] = []
        self.context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, **settings)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.add_init_script(before)
        self.page.goto(file.as_uri())

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.context.close()

    def until(self, expression, seconds=20):
        """Wait until an expression is true; `wait_for_function` polls by eval, which the page's policy forbids."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(expression):
            assert time.monotonic() < end, expression
            self.page.wait_for_timeout(50)

    def plotted(self):
        """Scroll through the page until every plot that is not folded away is drawn."""
        self.until("window.Plotly !== undefined")
        places = self.page.locator(".plot:visible")
        for n in range(places.count()):
            places.nth(n).scroll_into_view_if_needed()
            places.nth(n).locator(".main-svg").first.wait_for()
        return places.count()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_plots_are_drawn_and_nothing_leaves_the_machine(browser, file, scheme) -> None:
    with Opened(browser, file, scheme=scheme) as opened:
        assert opened.plotted() == 5  # three losses and two code spaces
        opened.page.wait_for_timeout(200)
        assert opened.page.locator(".codes .scatterlayer .point").count() > 2 * 400
        assert opened.page.locator("figure .scatterlayer .lines").count() > 4
        assert opened.said == []
        assert [url for url in opened.asked if not url.startswith(("data:", file.as_uri()))] == []
        ink = opened.page.evaluate("getComputedStyle(document.body).color")
        assert ink == ("rgb(34, 37, 43)" if scheme == "light" else "rgb(230, 228, 223)")


def test_plots_are_drawn_that_nobody_scrolls_to(browser, file) -> None:
    with Opened(browser, file) as opened:
        opened.until("[...document.querySelectorAll('.plot')].filter(e => e.data).length >= 5")
        assert opened.page.evaluate("scrollY") == 0
        assert opened.said == []


def test_plots_are_drawn_before_printing(browser, file) -> None:
    idle = "window.requestIdleCallback = () => {}; window.IntersectionObserver = class { observe() {} };"
    with Opened(browser, file, before=idle) as opened:
        page = opened.page
        opened.until("window.Plotly !== undefined")
        drawn = "[...document.querySelectorAll('.plot')].filter(e => e.data).length"
        assert page.evaluate(drawn) == 0
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.evaluate(drawn) == 5
        assert opened.said == []


def test_folded_curves_are_drawn_when_they_are_opened(browser, file) -> None:
    with Opened(browser, file) as opened:
        before = opened.plotted()
        opened.page.locator("details.more > summary").first.click()
        assert opened.plotted() > before
        assert opened.said == []


def test_the_slider_changes_the_samples_by_keyboard(browser, file) -> None:
    with Opened(browser, file) as opened:
        page = opened.page
        images = page.locator("[data-samples]")
        newest = [images.nth(n).get_attribute("src") for n in range(2)]
        slider = page.get_by_label("Training step")
        slider.focus()
        page.keyboard.press("ArrowLeft")
        assert slider.get_attribute("aria-valuetext") == "step 4"
        earlier = [images.nth(n).get_attribute("src") for n in range(2)]
        assert all(a != b for a, b in zip(newest, earlier, strict=True))
        assert images.first.get_attribute("alt") == "Samples of plain after 4 steps"
        assert page.evaluate("[...document.querySelectorAll('[data-samples]')].every(e => e.naturalWidth > 50)")
        page.keyboard.press("ArrowRight")
        assert [images.nth(n).get_attribute("src") for n in range(2)] == newest


def test_a_point_shows_its_image(browser, file) -> None:
    with Opened(browser, file) as opened:
        opened.plotted()
        page = opened.page
        told = page.locator("[data-told='0']")
        first = told.text_content()
        page.locator("[data-point='0']").focus()
        page.keyboard.press("End")
        assert "drawn with the prior (400 of 400)" in told.text_content()
        assert first != told.text_content()
        seen = page.locator("[data-seen='0']")
        assert "400 of 400" in seen.get_attribute("aria-label")
        place = seen.evaluate("e => e.style.backgroundPosition")
        page.locator("[data-codes='0'] .scatterlayer .point").nth(5).hover(force=True)
        page.wait_for_timeout(300)
        assert seen.evaluate("e => e.style.backgroundPosition") != place


def test_a_run_can_be_hidden_and_a_recipe_copied(browser, file, trained) -> None:
    with Opened(browser, file) as opened:
        page = opened.page
        assert page.locator(".card:visible h3", has_text="plain").count() > 3
        page.get_by_role("checkbox", name="plain").uncheck()
        assert page.locator(".card:visible h3", has_text="plain").count() == 0
        page.locator("details.run > summary").first.click()
        page.get_by_role("button", name="Copy the recipe").first.click()
        page.locator("#announced:not(:empty)").wait_for(state="attached")
        assert "recipe" in page.locator("#announced").text_content()


@pytest.mark.parametrize("width", [320, 1600])
def test_the_page_is_as_wide_as_the_window(browser, file, width) -> None:
    with Opened(browser, file, width=width) as opened:
        opened.plotted()
        assert opened.page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("width", [1280, 390])
def test_axes_settle_and_their_titles_are_whole(browser, runs, tmp_path, width) -> None:
    """Margins that Plotly chooses itself may go to and fro, which it says after a while; fixed ones must be enough."""
    values = [0.3652622103691101, 0.36514246463775635, 0.36678141355514526, 0.35124021768569946, 0.3484891653060913]
    lines = [
        {"step": 2 * i + 2, "seconds": 1.0, "phase/reconstruction": each, "phase/large": 1e6 * each}
        for i, each in enumerate(values)
    ]
    for file in runs.glob("*/*/metrics.jsonl"):
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_report([runs], tmp_path / "report.html", seconds=0)
    with Opened(browser, tmp_path / "report.html", width=width) as opened:
        opened.page.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
        assert opened.plotted() >= 2
        opened.page.wait_for_timeout(500)
        bottom = "(each) => each.getBoundingClientRect().bottom"
        drawn = "[...document.querySelectorAll('.plot:not(:empty)')]"
        below = f"""{drawn}.map((plot) => plot.getBoundingClientRect().bottom
            - Math.max(...[...plot.querySelectorAll('.xtitle, .xtick')].map({bottom})))"""
        assert min(opened.page.evaluate(below)) >= 0
        assert opened.said == []


def test_pictures_are_shown_without_scripts(browser, file) -> None:
    with Opened(browser, file, java_script_enabled=False) as opened:
        assert opened.page.locator("[data-samples]:visible").count() == 2
        assert opened.page.locator(".slider:visible").count() == 0


def test_hostile_text_runs_nothing(browser, runs, tmp_path) -> None:
    text = "</script><script>window.hit = 1</script><img src=x onerror='window.hit = 2'>"
    link = "<a href='javascript:window.hit = 3'>here</a>"
    folder = runs / "plain" / "seed-0"
    facts = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**facts, "label": text, "command": [text]}))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    lines = [{**line, f"{link}/{text}loss": 1.0} for line in lines]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "hostile.html"
    write_report([folder], out)
    with Opened(browser, out) as opened:
        opened.plotted()
        page = opened.page
        page.locator("figure .plot").first.hover()
        page.wait_for_timeout(300)
        assert page.evaluate("window.hit") is None
        assert page.locator("svg a").count() == 0 and page.locator("a[href^='javascript']").count() == 0
        assert opened.said == []
        # Even a script that were not escaped may not run.
        page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.hit = 4'}))")
        assert page.evaluate("window.hit") is None
