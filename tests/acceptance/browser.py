"""A real browser without a window, spoken to through a pipe: what a page shows, asks for and complains of."""

from __future__ import annotations

import base64
import json
import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WAIT_S = 60.0
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
# The browser reads commands from descriptor 3 and answers on 4, whatever numbers the pipes have here.
_START = 'exec "$0" "${@:3}" 3<&"$1" 4>&"$2" >/dev/null 2>&1'


@dataclass
class Tab:
    """One page. requests: URLs it asked for. complaints: of its console, and what it threw."""

    process: subprocess.Popen[bytes]
    to_browser: int
    from_browser: int
    session: str = ""
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    _sent: int = 0
    _held: bytes = b""

    def open(self, path: Path) -> None:
        """Load a file to its end."""
        self.requests.clear()
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        deadline = time.monotonic() + WAIT_S
        while "Page.loadEventFired" not in self.events:
            self._take(self._message(deadline))

    def value(self, expression: str) -> Any:
        """What an expression gives in the page, as JSON."""
        answer = self.call("Runtime.evaluate", expression=f"JSON.stringify({expression})", returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return json.loads(answer["result"]["value"])

    def show(self, width: int, *, dark: bool = False) -> None:
        """As a screen of this width, in CSS pixels."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path) -> None:
        """The whole page as PNG."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def printed(self) -> bytes:
        """The page as PDF, on the paper that it asks for."""
        answer = self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        return base64.b64decode(answer["data"])

    def call(self, method: str, **parameters: Any) -> Any:
        """The result of a command."""
        self._sent += 1
        message: dict[str, Any] = {"id": self._sent, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + WAIT_S
        while (answer := self._message(deadline)).get("id") != self._sent:
            self._take(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _message(self, deadline: float) -> Any:
        while b"\0" not in self._held:
            ready, _, _ = select.select([self.from_browser], [], [], max(deadline - time.monotonic(), 0))
            assert ready, "the browser says nothing"
            piece = os.read(self.from_browser, 1 << 20)
            assert piece, "the browser has ended"
            self._held += piece
        first, _, self._held = self._held.partition(b"\0")
        return json.loads(first)

    def _take(self, message: Any) -> None:
        method, told = message.get("method", ""), message.get("params", {})
        self.events.append(method)
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method in {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"}:
            self.complaints.append(json.dumps(told))


@contextmanager
def opened_browser(folder: Path) -> Iterator[Tab]:
    """A browser with a profile of its own in `folder`, and one empty tab."""
    assert PROGRAM is not None
    read_here, write_there = os.pipe()
    read_there, write_here = os.pipe()
    process = subprocess.Popen(
        ["bash", "-c", _START, PROGRAM, str(read_there), str(write_there), *_FLAGS, f"--user-data-dir={folder}"],
        pass_fds=(read_there, write_there),
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "TZ": "UTC"},
    )
    os.close(read_there)
    os.close(write_there)
    try:
        tab = Tab(process, write_here, read_here)
        target = tab.call("Target.createTarget", url="about:blank")["targetId"]
        tab.session = tab.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            tab.call(f"{domain}.enable")
        yield tab
    finally:
        process.kill()
        process.wait()
        os.close(write_here)
        os.close(read_here)


def pages_of(pdf: bytes) -> int:
    """How many pages a PDF of this browser has."""
    return len(re.findall(rb"/Type\s*/Page\b", pdf))
