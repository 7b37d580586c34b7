"""Start TensorBoard on this machine only, and wait until its projector answers."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from projector_export.errors import InputNotFoundError, OptionError, ServeError
from projector_export.limits import CONFIG_NAME

HOST = "127.0.0.1"
DEFAULT_PORT = 6006


@dataclass(frozen=True)
class Server:
    """A running TensorBoard.

    Attributes:
        process: ends with `stop`.
        port: on 127.0.0.1.
        runs: runs that its projector lists.
    """

    process: subprocess.Popen[bytes]
    port: int
    runs: list[str]

    @property
    def url(self) -> str:
        """Address of the projector tab."""
        return f"http://{HOST}:{self.port}/#projector"

    def stop(self) -> None:
        """End TensorBoard and wait until it has gone."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_tensorboard(
    log_dir: str | Path, *, port: int | None = None, timeout_s: float = 120
) -> Server:
    """Start TensorBoard on 127.0.0.1 and wait until its projector lists a run.

    Args:
        log_dir: holds an export at any depth.
        port: default 6006, or a free one when that is taken.
        timeout_s: how long to wait.

    Raises:
        InputNotFoundError: no such directory, or no export in it.
        OptionError: no such port.
        ServeError: the port is taken, TensorBoard ends, or does not answer in time.
    """
    log_dir = Path(log_dir)
    if not log_dir.is_dir():
        raise InputNotFoundError(f"{log_dir} is not a directory; expected one with exports")
    if next(log_dir.rglob(CONFIG_NAME), None) is None:
        raise InputNotFoundError(
            f"{log_dir} holds no {CONFIG_NAME}; expected a directory with exports: "
            "make one with projector-export images, vectors or demo"
        )
    if port is not None and not 1 <= port <= 65535:
        raise OptionError(f"port is {port}; expected 1 to 65535")
    port = _choose_port(port)
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(log_dir)]
    command += ["--host", HOST, "--port", str(port), "--reload_interval", "5"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + timeout_s
            while process.poll() is None and time.monotonic() < deadline:
                if runs := _ask_runs(port):
                    return Server(process, port, runs)
                time.sleep(0.2)
            ended = process.poll() is not None
            log.seek(0)
            said = log.read().decode("utf-8", "replace").strip().splitlines()
            state = "ended" if ended else f"lists no projector run after {timeout_s:.0f} s"
            raise ServeError(f"TensorBoard {state}; it last said: {' / '.join(said[-3:])}")
        except BaseException:  # an interrupt too must not leave it running
            process.kill()
            process.wait()
            raise


def _ask_runs(port: int) -> list[str]:
    address = f"http://{HOST}:{port}/data/plugin/projector/runs"
    # No proxy: the address is this machine's.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=30) as answer:
            runs: list[str] = json.load(answer)
            return runs
    except (urllib.error.URLError, OSError, ValueError):
        return []


def _choose_port(port: int | None) -> int:
    if port is not None:
        if not _is_free(port):
            raise ServeError(f"port {port} is taken; choose another with --port")
        return port
    if _is_free(DEFAULT_PORT):
        return DEFAULT_PORT
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        free: int = probe.getsockname()[1]
        return free


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
