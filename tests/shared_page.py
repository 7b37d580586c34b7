"""A shared page in Chromium, and a plain web server for sites."""

from __future__ import annotations

import functools
import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from viewer import DEEP, STATE

OF_THE_PAGE = ("blob:", "data:")
LOADED = DEEP + "return !!(viewer && viewer.dataSet && viewer.projection);"
SHOWN = (
    DEEP
    + """
const open = bookmarks && bookmarks.savedStates.filter(state => state.isSelected);
return !!(open && open.length === 1 && open[0].label === %s);
"""
)


class SharedPage:
    """A page in a browser of its own, which counts what leaves the page.

    Args:
        browser: Chromium.
        address: of a file, with networking disabled, or of a site.
    """

    def __init__(self, browser: Any, address: str) -> None:
        self.context = browser.new_context(viewport={"width": 1500, "height": 900})
        self.own = (address.split("#")[0],)
        if address.startswith("file:"):
            self.context.set_offline(True)
        else:
            self.own = (self.own[0].rsplit("/", 1)[0] + "/",)
        self.page = self.context.new_page()
        self.outside: list[str] = []
        self.asked: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", self._note_request)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", self._note_dialog)
        self.page.on("console", self._note_console)
        self.start = time.monotonic()
        self.page.goto(address)

    def _note_request(self, request: Any) -> None:
        self.asked.append(request.url)
        if not request.url.startswith((*OF_THE_PAGE, *self.own)):
            self.outside.append(request.url)

    def _note_dialog(self, dialog: Any) -> None:
        self.errors.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _note_console(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def run(self, code: str) -> Any:
        """Run the body of a function that may use `viewer`, `bookmarks` and `data`."""
        return self.page.evaluate("() => {" + DEEP + code + "}")

    def wait_for(self, code: str, *, timeout_s: float = 120) -> None:
        """Wait until it returns something true."""
        self.page.wait_for_function("() => {" + code + "}", timeout=timeout_s * 1000)

    def wait_until_shown(self, title: str, *, timeout_s: float = 10) -> float:
        """Wait until that view is open; return the seconds since the page was asked for."""
        self.wait_for(SHOWN % json.dumps(title), timeout_s=timeout_s)
        return time.monotonic() - self.start

    def state(self) -> dict[str, Any]:
        """What the viewer holds."""
        state: dict[str, Any] = self.page.evaluate("() => {" + STATE + "}")
        return state

    def note(self) -> str:
        """What the bar says."""
        return str(self.page.inner_text(".shared-note"))

    def close(self) -> None:
        """Close it; nothing must have gone wrong, nor left the page."""
        self.context.close()
        assert self.outside == [], self.outside
        assert self.errors == []


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder as `python -m http.server` does; give its address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
