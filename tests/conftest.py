"""Fixtures that several rooms' tests share."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FROM_DISK = ("file:", "data:", "blob:", "about:")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real logs beside the project; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real logs are absent: {SHARED_DATA} does not exist")
    return SHARED_DATA


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium, driven by Playwright; tests are skipped where one of the two is absent.

    The browser is one on the path, else the one that ``playwright install chromium`` has put into Playwright's cache.
    """
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    with api.sync_playwright() as playwright:
        if path is None and not Path(playwright.chromium.executable_path).is_file():
            pytest.skip("no browser here: install chromium, or run `python -m playwright install chromium`")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a file as a reader would; the test fails if any page logs an error or asks the network for anything."""
    faults: list[str] = []
    contexts = []

    def note(request: Any) -> None:
        if not request.url.startswith(FROM_DISK):
            faults.append(f"asked for {request.url}")

    def open_(path: Path, width: int = 1400, height: int = 1000, dark: bool = False, **options: Any) -> Any:
        scheme = "dark" if dark else "light"
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: message.type in ("error", "warning") and faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", note)
        page.goto(path.resolve().as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not faults, faults
