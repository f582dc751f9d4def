"""The README's pictures of the reports: ``python benchmarks/screenshots.py runs/demo``.

Each is taken from the first of the runs that has the page, at desktop width in light colours, and written to
``docs/pictures`` as a PNG with a palette, so that it stays small.
"""

from __future__ import annotations

import argparse
import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
WIDTH = 1180
MARGIN = 16
COLOURS = 256
MOST_BYTES = 150_000


@dataclass(frozen=True)
class Shot:
    """One picture: which page, what is done there first, and from which element how many pixels down."""

    name: str
    page: str
    start: str
    height: int
    prepare: Callable[[Any], None] = lambda _: None


def ask_for_an_item(page: Any) -> None:
    """Choose the second of the items seen most, which has neighbours under both embeddings."""
    page.select_option("#group", "head")
    page.click("#next")


SHOTS = (
    Shot("report_embeddings", "embeddings.html", "body", 1040),
    Shot("report_neighbours", "embeddings.html", "#browser .controls", 940, ask_for_an_item),
    Shot("report_segments", "segments.html", "body", 1180),
)


def take(browser: Any, shot: Shot, path: Path) -> None:
    """Take one picture and write it.

    Raises:
        ValueError: if it is larger than a page of the documentation should load.
    """
    page = browser.new_page(viewport={"width": WIDTH, "height": 1000}, color_scheme="light")
    page.goto(path.resolve().as_uri())
    shot.prepare(page)
    page.wait_for_timeout(300)
    top = max(page.locator(shot.start).bounding_box()["y"] + page.evaluate("scrollY") - MARGIN, 0)
    clip = {"x": 0, "y": top, "width": WIDTH, "height": shot.height}
    picture = Image.open(io.BytesIO(page.screenshot(clip=clip, full_page=True)))
    page.close()
    target = PICTURES / f"{shot.name}.png"
    picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)
    size = target.stat().st_size
    print(f"{target.name}: {size:,} bytes, from {path}")
    if size > MOST_BYTES:
        raise ValueError(f"{target} has {size:,} bytes, at most {MOST_BYTES:,} are wanted: lower its height")


def main() -> None:
    """Take all pictures that the given runs' reports allow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders; a page is taken from the first that has it")
    runs = parser.parse_args().runs
    path = next(
        (place for name in ("chromium", "chromium-browser", "google-chrome") if (place := shutil.which(name))), None
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for shot in SHOTS:
            place = next((page for run in runs if (page := run / "reports" / shot.page).is_file()), None)
            if place is None:
                print(f"{shot.name}: none of the runs has reports/{shot.page}")
            else:
                take(browser, shot, place)
        browser.close()


if __name__ == "__main__":
    main()
