"""Firefox and WebKit, by the protocols that Debian's programs speak themselves: open a page, evaluate in it, press Tab.

Firefox takes WebDriver BiDi at --remote-debugging-port. WebKitWebDriver starts MiniBrowser, which needs a display: Xvfb
makes one.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import websocket

PATIENCE = 120  # seconds; a busy machine is slow, not wrong
TAB = "\ue004"  # as WebDriver writes the key
# Nothing outside this machine is asked: whatever a page or Firefox itself wants goes to a port where nobody listens.
PREFERENCES = {
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "app.normandy.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
}
MINIBROWSER = next(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"), None)


class Engine:
    """A browser with one page. `NEEDS`: Debian's packages, and whether this machine has what they bring."""

    NEEDS: dict[str, object]

    def __init__(self, folder: Path):
        """`folder`: empty, for what the browser keeps."""
        with contextlib.ExitStack() as stack:
            self._start(stack, folder)
            self.close = stack.pop_all().close

    def evaluate(self, expression: str):
        """The value of an expression, as JSON can say it; a promise is awaited."""
        return json.loads(self._run(f"return JSON.stringify((await ({expression})) ?? null)"))

    def wait(self, expression: str, seconds: float = PATIENCE):
        """The value of an expression as soon as it counts as true; AssertionError if it never does."""
        end = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.1)
        return value


class Firefox(Engine):
    """Without a window."""

    PROGRAM = shutil.which("firefox-esr") or shutil.which("firefox")
    NEEDS = {"firefox-esr": PROGRAM}

    def _start(self, stack, folder):
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
        (folder / "user.js").write_text("\n".join(lines))
        log = folder / "log.txt"
        command = [self.PROGRAM, "--headless", "--no-remote", "--profile", folder, "--remote-debugging-port=0"]
        stack.enter_context(_running(command, stderr=stack.enter_context(log.open("w"))))
        address = _soon(lambda: re.search(r"WebDriver BiDi listening on (ws://\S+)", log.read_text("utf-8")))[1]
        self.socket = websocket.create_connection(f"{address}/session", timeout=PATIENCE, suppress_origin=True)
        stack.callback(self.socket.close)
        self.asked = 0
        self._ask("session.new", capabilities={})
        self.target = {"context": self._ask("browsingContext.getTree")["contexts"][0]["context"]}

    def _ask(self, method: str, **params) -> dict:
        self.asked += 1
        self.socket.send(json.dumps({"id": self.asked, "method": method, "params": params}))
        while (answer := json.loads(self.socket.recv())).get("id") != self.asked:
            pass  # tells of an event
        if answer["type"] == "error":
            raise RuntimeError(f"{method}: {answer['message']}")
        return answer["result"]

    def open(self, address: str) -> None:
        self._ask("browsingContext.navigate", **self.target, url=address, wait="interactive")

    def _run(self, body: str) -> str:
        source = f"(async () => {{ {body} }})()"
        answer = self._ask("script.evaluate", expression=source, target=self.target, awaitPromise=True)
        if answer["type"] == "exception":
            raise RuntimeError(answer["exceptionDetails"]["text"])
        return answer["result"]["value"]

    def press(self, key: str) -> None:
        strokes = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        self._ask("input.performActions", **self.target, actions=[{"type": "key", "id": "keys", "actions": strokes}])


class WebKit(Engine):
    """WebKitGTK's own small browser."""

    NEEDS = {"webkit2gtk-driver": shutil.which("WebKitWebDriver") and MINIBROWSER, "xvfb": shutil.which("Xvfb")}

    def _start(self, stack, folder):
        reading, writing = os.pipe()
        display = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x1024x24"]
        stack.enter_context(_running(display, pass_fds=[writing], stderr=subprocess.DEVNULL))
        os.close(writing)
        with os.fdopen(reading) as told:
            own = {"DISPLAY": f":{told.readline().strip()}", "GDK_BACKEND": "x11", "HOME": str(folder)}
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = ["WebKitWebDriver", f"--port={port}"]
        stack.enter_context(_running(command, env=os.environ | own, stderr=subprocess.DEVNULL))
        self.session = f"http://127.0.0.1:{port}/session"
        browser = {"webkitgtk:browserOptions": {"binary": str(MINIBROWSER), "args": ["--automation"]}}
        answer = _soon(lambda: self._ask("", {"capabilities": {"alwaysMatch": browser}}))
        self.session += f"/{answer['sessionId']}"
        stack.callback(self._ask, "", method="DELETE")
        self._ask("/timeouts", {"script": 1000 * PATIENCE, "pageLoad": 1000 * PATIENCE})

    def _ask(self, command: str, body: dict | None = None, method: str = "POST"):
        request = urllib.request.Request(self.session + command, json.dumps(body or {}).encode(), method=method)
        try:
            with urllib.request.urlopen(request, timeout=2 * PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{command}: {error.read().decode()}") from None

    def open(self, address: str) -> None:
        self._ask("/url", {"url": address})

    def _run(self, body: str) -> str:
        script = f"""const done = arguments[arguments.length - 1];
            (async () => {{ {body} }})().then(text => done([text]), error => done([null, String(error)]));"""
        text, *error = self._ask("/execute/async", {"script": script, "args": []})
        if error:
            raise RuntimeError(error[0])
        return text

    def press(self, key: str) -> None:
        strokes = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        self._ask("/actions", {"actions": [{"type": "key", "id": "keys", "actions": strokes}]})


def _soon(attempt):
    """What the attempt gives as soon as it gives anything."""
    for _ in range(10 * PATIENCE):
        with contextlib.suppress(ConnectionError, urllib.error.URLError):
            if found := attempt():
                return found
        time.sleep(0.1)
    raise TimeoutError("the browser did not start")


@contextlib.contextmanager
def _running(command, **settings):
    """A program that runs until the end of the block."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, **settings) as process:
        try:
            yield
        finally:
            process.terminate()
