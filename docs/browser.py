"""Drives a headless Chromium over its DevTools protocol: for the pictures in `docs/`, and for tests of pages.

Source of the protocol: https://chromedevtools.github.io/devtools-protocol. Messages are JSON with a zero byte after
each, on two pipes that the browser has as file descriptors 3 and 4, so that no port is open and no library is needed.
"""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
VARIABLE = "SHARDLOOM_CHROMIUM"  # names the program where it is not in the PATH
SECONDS = 60.0  # that an answer may take, on a machine that does much else

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
# Becomes the browser with the pipes as 3 and 4: `subprocess` keeps the numbers that descriptors have here.
_START = """
import os, sys
from fcntl import F_DUPFD, fcntl
for number, pipe in zip((3, 4), [fcntl(int(each), F_DUPFD, 10) for each in sys.argv[1:3]]):
    os.dup2(pipe, number)
os.execvp(sys.argv[3], sys.argv[3:])
"""
_COMPLAINTS = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}


def find_chromium() -> str | None:
    """Returns the path of a Chromium: the one that `SHARDLOOM_CHROMIUM` names, or one in the PATH; None without any."""
    return os.environ.get(VARIABLE) or next(filter(None, map(shutil.which, NAMES)), None)


@dataclass(slots=True)
class Tab:
    """Holds one tab: it loads pages, runs scripts in them and takes pictures. Its messages are kept as they come."""

    write_to: int
    read_from: int
    session: str = ""
    sent: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)
    rest: bytes = b""

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method. Returns its result; raises `RuntimeError` for an error, and `TimeoutError` without any."""
        self.sent += 1
        message: dict[str, Any] = {"id": self.sent, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write_to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") != self.sent:
                self.events.append(answer)
            elif "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']['message']}")
            else:
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, page: Path, width: int, height: int = 900, scheme: str = "light") -> float:
        """Loads a page in a window of this size and colour scheme. Returns the seconds until its load event."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.send("Page.navigate", url=f"file://{page.resolve()}")
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())
        return float(self.run("performance.getEntriesByType('navigation')[0].loadEventEnd")) / 1000

    def run(self, script: str) -> Any:
        """Returns the value of an expression in the page, which the page's own policy does not keep from running."""
        done = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise RuntimeError(json.dumps(done["exceptionDetails"]))
        return done["result"].get("value")

    def point_at(self, selector: str) -> None:
        """Moves the mouse over the first piece of an element, which is scrolled into view."""
        quoted = json.dumps(selector)
        script = (
            f"(one => (one.scrollIntoView({{block: 'center'}}), one.getClientRects()[0]))({_query(quoted)}).toJSON()"
        )
        place = self.run(script)
        x, y = (place[start] + place[size] / 2 for start, size in (("x", "width"), ("y", "height")))
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def take_picture(self) -> bytes:
        """Returns what the window shows, as PNG."""
        return base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])

    def list_complaints(self) -> list[str]:
        """Returns what was logged to the console, by the page or by the browser, since the page was opened."""
        return [json.dumps(one["params"]) for one in self.events if one.get("method") in _COMPLAINTS]

    def list_requests(self) -> list[str]:
        """Returns the addresses that were asked for since the page was opened, but for data in the page itself."""
        asked = [one["params"] for one in self.events if one.get("method") == "Network.requestWillBeSent"]
        return [one["request"]["url"] for one in asked if not one["request"]["url"].startswith("data:")]

    def _read(self) -> dict[str, Any]:
        end = time.monotonic() + SECONDS
        while b"\0" not in self.rest:
            if not select.select([self.read_from], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError(f"the browser said nothing for {SECONDS:.0f} s")
            data = os.read(self.read_from, 1 << 20)
            if not data:
                raise RuntimeError("the browser has ended")
            self.rest += data
        message, _, self.rest = self.rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


def _query(selector: str) -> str:
    return f"document.querySelector({selector})"


@contextlib.contextmanager
def open_tab(program: str) -> Iterator[Tab]:
    """Starts a browser with a profile of its own, and yields a tab of it, whose console and requests are kept."""
    (in_read, in_write), (out_read, out_write) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        start = [sys.executable, "-c", _START, str(in_read), str(out_write), program]
        command = [*start, *_FLAGS, f"--user-data-dir={profile}"]
        process = subprocess.Popen(command, pass_fds=(in_read, out_write), stderr=subprocess.DEVNULL)
        try:
            os.close(in_read)
            os.close(out_write)
            tab = Tab(in_write, out_read)
            target = tab.send("Target.createTarget", url="about:blank")["targetId"]
            tab.session = tab.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                tab.send(f"{domain}.enable")
            yield tab
        finally:
            process.kill()
            process.wait()
            os.close(in_write)
            os.close(out_read)
