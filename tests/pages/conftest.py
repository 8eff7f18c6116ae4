"""A real browser: Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

_READS_BACK = "Multiple readback operations"  # tests look at what is drawn; pages do not

Opened = Callable[..., "Page"]


def _chromium() -> str | None:
    """Return the path of the browser."""
    return os.environ.get("WIZER_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = _chromium()
    if program is None:
        pytest.skip("no Chromium is on PATH, and WIZER_CHROMIUM does not name one")
    sync_api = pytest.importorskip("playwright.sync_api", reason="there is no Playwright for this platform")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opened]:
    """Open a page from its file; in the end, whatever it complained about or asked for is an error."""
    faults: list[str] = []
    pages: list[Page] = []

    def open_page(path: Path, *, dark: bool = False, width: int = 1200) -> Page:
        page = browser.new_page(
            color_scheme="dark" if dark else "light", viewport={"width": width, "height": 900}
        )
        pages.append(page)
        page.on("console", lambda message: faults.extend([message.text] * (_READS_BACK not in message.text)))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.on(
            "request", lambda request: faults.append(request.url) if request.url != path.as_uri() else None
        )
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready=true]")
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not faults
