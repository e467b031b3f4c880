"""Firefox and WebKit, driven by the protocols that they speak themselves: open a page, and evaluate in it.

Debian's programs: Firefox takes WebDriver BiDi at --remote-debugging-port; WebKitWebDriver starts MiniBrowser, which
needs a display, so Xvfb makes one.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import websocket

START = 60  # seconds that a browser may take to start, on a busy machine
PATIENCE = 120  # seconds that a page may take
MINIBROWSER = next(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"), None)
# Runs as soon as a page does, before its own scripts where the browser can.
NOTE_ERRORS = """
  window.noted = [];
  addEventListener('error', event => noted.push(event.message || `${event.target.src || event.target.href} is missing`),
    true);
  addEventListener('unhandledrejection', event => noted.push(String(event.reason)));
"""


class Firefox:
    """A Firefox without a window."""

    NEEDS = {"firefox-esr": shutil.which("firefox-esr") or shutil.which("firefox")}

    def __init__(self, folder: Path):
        self.stack, self.sent = contextlib.ExitStack(), 0
        command = [
            self.NEEDS["firefox-esr"],
            "--headless",
            "--remote-debugging-port=0",
            "--profile",
            folder,
            "--no-remote",
        ]
        process = self.stack.enter_context(started(command, stderr=subprocess.PIPE, text=True))
        address = next(
            found[1] for line in process.stderr if (found := re.search(r"WebDriver BiDi listening on (ws://\S+)", line))
        )
        self.socket = websocket.create_connection(f"{address}/session", timeout=PATIENCE, suppress_origin=True)
        self.stack.callback(self.socket.close)
        self.ask("session.new", capabilities={})
        self.context = self.ask("browsingContext.getTree")["contexts"][0]["context"]
        self.ask("script.addPreloadScript", functionDeclaration=f"() => {{ {NOTE_ERRORS} }}")

    def ask(self, method: str, **params) -> dict:
        self.sent += 1
        self.socket.send(json.dumps({"id": self.sent, "method": method, "params": params}))
        while (answer := json.loads(self.socket.recv())).get("id") != self.sent:
            pass  # an event
        if answer["type"] == "error":
            raise RuntimeError(f"{method}: {answer['error']}: {answer['message']}")
        return answer["result"]

    def open(self, address: str) -> None:
        self.ask("browsingContext.navigate", context=self.context, url=address, wait="complete")

    def evaluate(self, expression: str):
        """The value of an expression, which JSON can say; a promise is awaited."""
        source = f"(async () => JSON.stringify((await ({expression})) ?? null))()"
        answer = self.ask("script.evaluate", expression=source, target={"context": self.context}, awaitPromise=True)
        if answer["type"] == "exception":
            raise RuntimeError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    def resize(self, width: int, height: int) -> None:
        self.ask("browsingContext.setViewport", context=self.context, viewport={"width": width, "height": height})

    def close(self) -> None:
        self.stack.close()


class WebKit:
    """A MiniBrowser on a display of its own."""

    NEEDS = {"webkit2gtk-driver": shutil.which("WebKitWebDriver") and MINIBROWSER, "xvfb": shutil.which("Xvfb")}

    def __init__(self, folder: Path):
        self.stack = contextlib.ExitStack()
        reading, writing = os.pipe()
        self.stack.enter_context(
            started(
                ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x1024x24"],
                pass_fds=[writing],
                stderr=subprocess.DEVNULL,
            )
        )
        os.close(writing)
        with os.fdopen(reading) as numbers:
            display = f":{numbers.readline().strip()}"
        with contextlib.closing(__import__("socket").create_server(("127.0.0.1", 0))) as free:
            port = free.getsockname()[1]
        environment = os.environ | {"DISPLAY": display, "HOME": str(folder), "GDK_BACKEND": "x11"}
        self.stack.enter_context(
            started(["WebKitWebDriver", f"--port={port}"], env=environment, stderr=subprocess.DEVNULL)
        )
        self.address = f"http://127.0.0.1:{port}/session"
        browser = {"binary": str(MINIBROWSER), "args": ["--automation"]}
        wanted = {"capabilities": {"alwaysMatch": {"webkitgtk:browserOptions": browser}}}
        for _ in range(10 * START):
            with contextlib.suppress(ConnectionError, urllib.error.URLError):
                self.address += f"/{self.ask('', wanted)['sessionId']}"
                break
            time.sleep(0.1)
        self.stack.callback(self.ask, "", method="DELETE")
        self.ask("/timeouts", {"script": 1000 * PATIENCE, "pageLoad": 1000 * PATIENCE})

    def ask(self, command: str, body: dict | None = None, method: str = "POST"):
        request = urllib.request.Request(self.address + command, json.dumps(body or {}).encode(), method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE + 10) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{command}: {error.read().decode()}") from None

    def open(self, address: str) -> None:
        self.ask("/url", {"url": address})
        self.ask("/execute/sync", {"script": NOTE_ERRORS, "args": []})

    def evaluate(self, expression: str):
        script = f"""const done = arguments[arguments.length - 1];
            (async () => JSON.stringify((await ({expression})) ?? null))().then(
                value => done([value]), error => done([null, String(error)]));"""
        value, *error = self.ask("/execute/async", {"script": script, "args": []})
        if error:
            raise RuntimeError(error[0])
        return json.loads(value)

    def close(self) -> None:
        self.stack.close()


@contextlib.contextmanager
def started(command, **settings):
    """A program that runs until the end of the block."""
    process = subprocess.Popen(command, **settings)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)
