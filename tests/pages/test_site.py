"""The documentation site in a real browser, its pages opened as files."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
PHONE, LAPTOP = {"width": 360, "height": 740}, {"width": 1280, "height": 800}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    pytest.importorskip("mkdocs", reason="the site needs the extra `docs`")
    folder = tmp_path_factory.mktemp("site")
    words = ["build", "--strict", "--site-dir", folder]
    subprocess.run([sys.executable, "-m", "mkdocs", *words], cwd=ROOT, check=True)
    return folder


@pytest.fixture(scope="module")
def browser():
    """A running Chromium."""
    api = pytest.importorskip("playwright.sync_api", reason="the browser needs the extra `docs`")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser on this machine; one of these would do: {', '.join(BROWSERS)}")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program)
        yield running
        running.close()


@pytest.mark.parametrize("screen", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_every_page_loads_by_itself_and_fits_the_screen(site, browser, screen):
    page = browser.new_page(viewport=screen)
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if is_elsewhere(request) else None)
    pages = sorted(path for path in site.rglob("*.html") if path.name != "404.html")
    assert len(pages) > 40
    for path in pages:
        page.goto(path.as_uri())
        root = "document.documentElement"
        beyond = page.evaluate(f"{root}.scrollWidth - {root}.clientWidth")
        assert (said, beyond) == ([], 0), path.relative_to(site)


def is_elsewhere(request):
    """Whether something is asked of another host."""
    return not request.url.startswith(("file:", "data:", "blob:"))


def test_the_reference_says_of_a_field_what_its_comment_says(site, browser):
    page = browser.new_page()
    page.goto((site / "reference" / "learners.html").as_uri())
    settings = page.locator(".doc-class", has=page.locator("[id='ganno_jax.learners.MAPPOConfig']"))
    said = settings.locator("li", has_text="learning_rate").first.inner_text()
    assert "of Adam, falling linearly to zero over num_updates; default 0.001." in said
    assert "no default" in page.locator("li", has_text="envs (tuple").first.inner_text()


def test_the_search_finds_a_word_and_its_page(site, browser):
    page = browser.new_page(viewport=LAPTOP)
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("/")
    page.locator("input[name=query]").press_sequentially("several hosts")
    found = page.locator(".md-search-result__link").first
    found.wait_for()
    found.click()
    page.wait_for_url("**/several_hosts.html*")


def test_dark_mode_goes_on_and_off(site, browser):
    page = browser.new_page(viewport=LAPTOP, color_scheme="light")
    page.goto((site / "index.html").as_uri())
    seen = []
    for name in ("Dark mode", "Light mode"):
        page.locator(f"label[title='{name}']").click()
        color = "getComputedStyle(document.body).backgroundColor"
        seen.append(sum(map(int, page.evaluate(color).strip("rgb()").split(","))) / 3)
    dark, light = seen
    assert dark < 60
    assert light > 240
