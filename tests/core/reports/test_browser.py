"""The page in headless Chromium: it draws, loads nothing, runs nothing else, and fits a phone.

Minutes on a busy machine: `pytest -m slow tests/core/reports`.
"""

import shutil

import pytest

from tests import toys
from tests.core.reports.pages import report, samples_of, train

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]
DURATION = """new Promise((resolve, reject) => {
    const audio = document.querySelector('audio');
    audio.onloadedmetadata = () => resolve(audio.duration);
    audio.onerror = () => reject(audio.error.message);
    audio.load();
})"""
"""Seconds of the first sound; the page's policy lets no test evaluate words in it again and again."""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toys.VectorModality, "sound", samples_of)
        report(train(folder / "run").folder, folder / "page.html")
    return folder / "page.html"


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (375, "light")])
def test_the_page_in_a_browser(page_file, width, scheme):
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme).new_page()
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.set_default_timeout(120_000)
        page.goto(page_file.as_uri())
        page.wait_for_selector("html[data-drawn]", state="attached")
        assert said == []
        assert [url for url in asked if not url.startswith("data:")] == [page_file.as_uri()]
        assert page.title() == "pairs & more"
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        charts = page.evaluate(
            "[document.querySelectorAll('.chart').length, document.querySelectorAll('.chart svg').length]"
        )
        assert charts[0] == charts[1] > 8
        ink = page.evaluate("document.querySelector('.chart svg .role-axis-label text').getAttribute('fill')")
        assert ink == {"light": "#5f6368", "dark": "#a6abb2"}[scheme]
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        assert page.evaluate(DURATION) > 0.4
        views = "document.querySelector('#views img').parentElement"
        assert page.evaluate(f"{views}.scrollHeight <= {views}.clientHeight")  # shown whole
        point = page.locator("#map .chart").first.locator("path[aria-roledescription='circle']").first
        point.scroll_into_view_if_needed()
        point.hover(force=True)
        page.wait_for_selector("#vg-tooltip-element.visible img")
        page.emulate_media(color_scheme="light" if scheme == "dark" else "dark")
        page.wait_for_selector(f"html:not([data-drawn={scheme}])", state="attached")
        assert said == []
        browser.close()
