"""Fixtures that several rooms share."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest


def skip_unless_required(feature: str, reason: str) -> None:
    """Skip, or fail where PROJECTOR_EXPORT_REQUIRE lists the feature (as on CI)."""
    if feature in os.environ.get("PROJECTOR_EXPORT_REQUIRE", "").split(","):
        pytest.fail(f"{feature} tests are required here, but {reason}")
    pytest.skip(reason)


def need(library: str) -> None:
    """Skip, or fail where it is required, unless a library is installed; imports nothing."""
    if importlib.util.find_spec(library) is None:
        skip_unless_required(library, f"{library} is not installed")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless Chromium that renders WebGL in software."""
    path = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
    if path is None:
        skip_unless_required("browser", "no Chromium is installed (Debian: apt install chromium)")
    from playwright.sync_api import sync_playwright
    from viewer import CHROMIUM_FLAGS

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def _no_cache_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests neither read nor fill the cache of whoever runs them."""
    monkeypatch.setenv("PROJECTOR_EXPORT_CACHE", "none")


@pytest.fixture(scope="session")
def training_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Ten recorded epochs on the digits, with a TensorBoard that was there before."""
    pytest.importorskip("torch")
    from training_run import watch_training

    seen = watch_training(tmp_path_factory.mktemp("training"))
    yield seen
    seen.board.process.terminate()
    seen.board.process.wait()
