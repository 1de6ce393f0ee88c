"""A browser that does as it is told, for tests and benches: Debian's chromium by its DevTools. Knows no page.

    async with Browser(folder) as browser:
        await browser.open("http://127.0.0.1:8090/")
        await browser.until("document.querySelector('h2')")
        assert await browser.run("document.title") == "..."
        assert not browser.said                       # errors and warnings of the page

Nothing is installed: `FOUND` is None where there is no chromium, and then tests that need one are skipped.
"""

import asyncio
import base64
import json
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

FOUND = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WHY_NOT = "needs a browser: apt-get install chromium"
START_S, REPLY_S = 120.0, 240.0
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
UNTIL = """new Promise((resolve, reject) => {
  const end = performance.now() + %d;
  const look = () => {
    let found = false;
    try { found = %s; } catch (error) { found = false; }
    if (found) resolve(true); else if (performance.now() > end) reject(new Error("waited in vain"));
    else setTimeout(look, 50);
  };
  look();
})"""


class Browser:
    """`async with` it: one tab. `said`: what the page's console and its exceptions said, errors and warnings only."""

    def __init__(self, folder: Path, size: tuple[int, int] = (1280, 900)) -> None:
        self._folder, self._size = folder, size
        self.said: list[str] = []
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._number = 0

    async def __aenter__(self) -> "Browser":
        assert FOUND is not None, WHY_NOT
        wide, high = self._size
        self._process = await asyncio.create_subprocess_exec(
            FOUND,
            *FLAGS,
            f"--user-data-dir={self._folder}",
            f"--window-size={wide},{high}",
            "about:blank",
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self._http = aiohttp.ClientSession()
        try:
            await self._connect()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    # ------------------------------------------------------------------------------------------ what it can do

    async def open(self, url: str) -> None:
        """Go there; `until` something is there afterwards."""
        await self._call("Page.navigate", {"url": url})

    async def run(self, expression: str) -> Any:
        """The value of a JavaScript expression (or of its promise). Raises RuntimeError with what it threw."""
        options = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        found = await self._call("Runtime.evaluate", options)
        if thrown := found.get("exceptionDetails"):
            raise RuntimeError(f"{expression[:200]}: {thrown.get('exception', {}).get('description', thrown['text'])}")
        return found["result"].get("value")

    async def until(self, expression: str, seconds: float = 40.0) -> None:
        """Wait until an expression is true. Raises RuntimeError if it never is."""
        await self.run(UNTIL % (seconds * 1000, expression))

    async def press(self, key: str, code: int = 0, text: str = "") -> None:
        """One key, as a person would: Tab, Enter, ArrowLeft, or a character."""
        codes = {"Tab": 9, "Enter": 13, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        number = code or codes.get(key) or ord(key.upper())
        text = "\r" if key == "Enter" else text or (key if len(key) == 1 else "")
        event = {"key": key, "windowsVirtualKeyCode": number, "code": key}
        await self._call("Input.dispatchKeyEvent", {"type": "keyDown", **event, **({"text": text} if text else {})})
        await self._call("Input.dispatchKeyEvent", {"type": "keyUp", **event})

    async def mouse(self, kind: str, x: float, y: float) -> None:
        """kind: mousePressed, mouseMoved or mouseReleased, of the left button."""
        event = {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1}
        await self._call("Input.dispatchMouseEvent", event)

    async def dark(self, on: bool) -> None:
        """Whether the reader prefers dark pages."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if on else "light"}
        await self._call("Emulation.setEmulatedMedia", {"features": [feature]})

    async def picture(self, path: Path, whole: bool = False) -> None:
        """A PNG of what is seen, or of the whole page."""
        found = await self._call("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole})
        path.write_bytes(base64.b64decode(found["data"]))

    # ------------------------------------------------------------------------------------------ DevTools

    async def _connect(self) -> None:
        assert self._process.stderr is not None
        async with asyncio.timeout(START_S):
            while b"DevTools listening on" not in (line := await self._process.stderr.readline()):
                if not line:
                    raise RuntimeError("the browser ended at once")
            port = line.rpartition(b":")[2].partition(b"/")[0].decode()
            self._draining = asyncio.create_task(self._drain(self._process.stderr))
            async with self._http.get(f"http://127.0.0.1:{port}/json") as reply:
                tab = next(tab for tab in await reply.json(content_type=None) if tab["type"] == "page")
            self._socket = await self._http.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0)
        self._reading = asyncio.create_task(self._read())
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self._call(f"{domain}.enable")

    async def _call(self, method: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
        self._number += 1
        reply = self._replies[self._number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._number, "method": method, "params": options or {}})
        async with asyncio.timeout(REPLY_S):
            found = await reply
        if "error" in found:
            raise RuntimeError(f"{method}: {found['error']}")
        result: dict[str, Any] = found["result"]
        return result

    async def _read(self) -> None:
        async for message in self._socket:
            event = json.loads(message.data)
            if "id" in event:
                future = self._replies.pop(event["id"])
                if not future.done():
                    future.set_result(event)
            else:
                self._heard(event["method"], event["params"])

    def _heard(self, method: str, told: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.said.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.said.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.said.append(" ".join(str(arg.get("value", arg.get("description"))) for arg in told["args"]))

    @staticmethod
    async def _drain(stream: asyncio.StreamReader) -> None:
        while await stream.read(1 << 16):
            pass

    async def _end(self) -> None:
        for task in (getattr(self, "_reading", None), getattr(self, "_draining", None)):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if hasattr(self, "_socket"):
            await self._socket.close()
        await self._http.close()
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)  # its own group: all of its processes, and no other
        await self._process.wait()
