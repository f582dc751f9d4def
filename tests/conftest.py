"""Fixtures that several rooms' tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from configs.command import parse
from configs.locks import alone

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
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Fills a folder, by name, once for all worker processes of the session: tests read it and change nothing."""
    own = tmp_path_factory.getbasetemp()
    common = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder, filled = common / name, common / f"{name}.filled"
        with alone(folder):
            if not filled.exists():
                folder.mkdir()
                fill(folder)
                filled.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_log(once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The checked log of the tiny marketplace, seed 0: a stage that may be copied into runs of it."""

    def fill(folder: Path) -> None:
        from graph.logs.prepare import prepare_log

        prepare_log(parse([f"runs_folder={folder}", "run=tiny", "data=marketplace", "data.world=tiny"]))

    return once("tiny-log", fill) / "tiny" / "logs"


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
