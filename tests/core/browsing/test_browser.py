"""The page in a browser, and the command that serves it."""

import re
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

if any(find_spec(name) is None for name in ("starlette", "uvicorn", "jinja2", "python_multipart", "lancedb")):
    pytest.skip("needs sensorium[browse]", allow_module_level=True)

from tests.core.browsing.served import HARMFUL, PAIRS, SPACED, TOKEN, make_collection, served

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ROOT = Path(__file__).parents[3]
SERVE = """
import sys
import sensorium
from tests import toys
from tests.core.browsing.served import known
sensorium.browse(sys.argv[1], announce=lambda address: print(address, flush=True), **known())
print("closed", flush=True)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def collection(folder):
    return make_collection(folder)


@pytest.fixture
def browser():
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("width", [375, 1200])
def test_a_browser_shows_everything_and_asks_nobody_else(collection, browser, width, tmp_path):
    from playwright.sync_api import expect

    page = browser.new_page(viewport={"width": width, "height": 800})
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    (tmp_path / "vector.txt").write_text(PAIRS[7].values["a"])
    with served(collection) as port:
        page.goto(f"http://127.0.0.1:{port}/?token={TOKEN}")
        assert page.url == f"http://127.0.0.1:{port}/"
        page.set_input_files("input[name=upload]", tmp_path / "vector.txt")
        page.select_option("select[name=by]", "a")
        page.select_option("select[name=count]", "48")
        page.click("button")
        expect(page.locator(".hits li")).to_have_count(len(PAIRS) - 1)  # one lacks what is searched
        assert page.locator(".asked strong").inner_text() == "vector.txt"
        assert page.locator("img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 16
        page.select_option("select[name='label.color']", HARMFUL)
        page.click("button")
        expect(page.locator(".hits li")).to_have_count(1)
        assert page.locator(".hits .label").first.inner_text() == HARMFUL
        page.click(".hits a")
        expect(page.locator(".asked strong")).to_have_text(f"record {HARMFUL}")
        page.goto(f"http://127.0.0.1:{port}/")
        page.select_option("select[name='label.shape']", SPACED)
        page.select_option("select[name=count]", "48")
        page.click("button")
        expect(page.locator(".hits li")).to_have_count(len(PAIRS) // 4)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert said == []
    assert [url for url in asked if not url.startswith((f"http://127.0.0.1:{port}/", "data:"))] == []


def test_the_page_ends_by_ctrl_c(collection, folder):
    command = [sys.executable, "-c", SERVE, str(folder / "run")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        address = started.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{20,}", address), started.stderr.read()
        started.send_signal(signal.SIGINT)
        out, problem = started.communicate(timeout=60)
    assert (started.returncode, out, "Traceback" in problem) == (0, "closed\n", False), problem
