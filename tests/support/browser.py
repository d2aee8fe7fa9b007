"""Debian's Chromium without a window, for tests and pictures of pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.remote.webdriver import WebDriver

from support.daemon import find_program
from support.requirements import missing

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@contextmanager
def open_browser(
    profile: Path, *flags: str, width: int = 1600, height: int = 900
) -> Iterator[WebDriver]:
    """Open a browser whose profile lies in a folder; skip the test where there is none."""
    chromium, chromedriver = find_program("chromium"), find_program("chromedriver")
    if chromium is None or chromedriver is None:
        missing("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--window-size={width},{height}", f"--user-data-dir={profile}", *flags):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    try:
        yield driver
    finally:
        driver.quit()
