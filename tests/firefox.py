"""Drive a Firefox through Marionette, its own protocol: `length:json` over TCP.

Headless, Firefox has no WebGL (Mozilla bug 1375585): pages that want it get `NO_WEBGL`, or a
display, which Xvfb gives.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PREFERENCES = {
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "security.sandbox.content.level": 0,  # a container has no user namespaces
    "toolkit.telemetry.enabled": False,
    "webgl.force-enabled": True,  # rendered in software
}
NO_WEBGL = """
// A context that takes every call and draws nothing.
(() => {
  const names = WebGL2RenderingContext;
  const parameters = {
    [names.VERSION]: "WebGL 2.0",
    [names.SHADING_LANGUAGE_VERSION]: "WebGL GLSL ES 3.00",
    [names.SCISSOR_BOX]: [0, 0, 1, 1],
    [names.VIEWPORT]: [0, 0, 1, 1],
  };
  const anyFunction = { get: (_, name) => (/^[A-Z0-9_]+$/.test(name) ? 1 : () => ({})) };
  const answers = {
    getContextAttributes: () => ({ alpha: true }),
    getExtension: () => new Proxy({}, anyFunction),
    getSupportedExtensions: () => [],
    getShaderPrecisionFormat: () => ({ precision: 23, rangeMin: 127, rangeMax: 127 }),
    getProgramParameter: (_, what) => (what === names.LINK_STATUS ? true : 0),
    getShaderParameter: () => true,
    getProgramInfoLog: () => "",
    getShaderInfoLog: () => "",
    checkFramebufferStatus: () => names.FRAMEBUFFER_COMPLETE,
    getParameter: (what) => parameters[what] ?? 8192,
  };
  const { getContext } = HTMLCanvasElement.prototype;
  HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
    if (!kind.includes("webgl")) return getContext.call(this, kind, ...rest);
    const other = (name) => () => (String(name).startsWith("create") ? {} : null);
    const get = (own, name) => own[name] ?? answers[name] ?? names[name] ?? other(name);
    return (this.context ??= new Proxy({ canvas: this }, { get }));
  };
})();
"""


def has_display() -> bool:
    """Whether a display can be made for it."""
    return shutil.which("Xvfb") is not None


class Firefox:
    """A Firefox with a profile of its own; a context manager.

    Args:
        program: path of the browser.
        offline: whether it refuses every network address.
        on_display: whether it has a display of its own, and WebGL.
    """

    def __init__(self, program: str, *, offline: bool = True, on_display: bool = False) -> None:
        self.program, self.offline, self.on_display = program, offline, on_display
        self._number = 0
        self._display: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        environment = dict(os.environ)
        if self.on_display:
            environment |= {"DISPLAY": self._start_display(), "LIBGL_ALWAYS_SOFTWARE": "1"}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        preferences = {**PREFERENCES, "marionette.port": port}
        if self.offline:  # a proxy that there is not
            preferences |= {"network.proxy.type": 1, "network.proxy.http": "127.0.0.1",
                            "network.proxy.http_port": 9, "network.proxy.ssl": "127.0.0.1",
                            "network.proxy.ssl_port": 9,
                            "network.proxy.allow_hijacking_localhost": True}  # fmt: skip
        lines = [f'user_pref("{k}", {json.dumps(v)});' for k, v in preferences.items()]
        Path(self._profile.name, "user.js").write_text("\n".join(lines), encoding="utf-8")
        command = [self.program, "--marionette", "--no-remote", "--profile", self._profile.name]
        self._process = subprocess.Popen(
            command if self.on_display else [*command, "--headless"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        try:
            self._socket = _connect(port, self._process)
            self._stream = self._socket.makefile("rwb")
            self._receive()
            self.ask("WebDriver:NewSession", capabilities={"alwaysMatch": {}})
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in ("_stream", "_socket"):
            if hasattr(self, name):
                getattr(self, name).close()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._display is not None:
            self._display.terminate()
            self._display.wait()
        self._profile.cleanup()

    def ask(self, command: str, **parameters: object) -> Any:
        """Send a command; return its answer."""
        self._number += 1
        text = json.dumps([0, self._number, command, parameters]).encode()
        self._stream.write(b"%d:%b" % (len(text), text))
        self._stream.flush()
        _, number, error, result = self._receive()
        assert number == self._number
        assert error is None, error
        return result["value"] if set(result) == {"value"} else result

    def open(self, url: str) -> None:
        """Open an address in the one tab."""
        self.ask("WebDriver:Navigate", url=url)

    def run(self, code: str, *arguments: object) -> Any:
        """Run the body of a function in the page; return what it returns."""
        return self.ask("WebDriver:ExecuteScript", script=code, args=list(arguments))

    def wait_for(self, code: str, *, timeout_s: float = 120) -> Any:
        """Run it again and again until it returns something true; return that."""
        deadline = time.monotonic() + timeout_s
        while not (value := self.run(code)):
            assert time.monotonic() < deadline, f"in vain: {code}"
            time.sleep(0.2)
        return value

    def screenshot(self, path: Path) -> None:
        """Write a picture of the page."""
        path.write_bytes(base64.b64decode(self.ask("WebDriver:TakeScreenshot", full=False)))

    def _start_display(self) -> str:
        receiving, sending = os.pipe()
        self._display = subprocess.Popen(
            ["Xvfb", "-displayfd", str(sending), "-screen", "0", "1600x1000x24"],
            stderr=subprocess.DEVNULL,
            pass_fds=[sending],
        )
        os.close(sending)
        with os.fdopen(receiving) as stream:
            return f":{stream.readline().strip()}"

    def _receive(self) -> Any:
        digits = b""
        while (digit := self._stream.read(1)) != b":":
            assert digit, "Firefox has gone"
            digits += digit
        return json.loads(self._stream.read(int(digits)))


def _connect(port: int, process: subprocess.Popen[bytes]) -> socket.socket:
    deadline = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=180)
        except ConnectionError:
            assert process.poll() is None, "Firefox ended"
            assert time.monotonic() < deadline, "Firefox does not listen"
            time.sleep(0.2)
