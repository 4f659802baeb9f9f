"""The page of a small run, served in a thread, and a client of it."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import urlencode

import uvicorn

import sensorium
from sensorium.browsing.collection import Collection
from sensorium.browsing.pages import make_app
from sensorium.browsing.server import make_config
from sensorium.data.arrays import ArraysSource
from sensorium.evaluation.previews import Previews
from sensorium.indexing.records import RecordIndex
from tests import toys

HARMFUL = "</script><img src=x onerror=alert(1)>"
SPACED = " two  spaces\nand lines"
TOKEN, COUNT = "a-token", 40
LACKS_B = 3
"""The record without a value of b."""
PAIRS = toys.vectors(count=COUNT)


def records():
    """Pairs, of which the first has a label and an id that would do harm where they are not escaped."""
    values = {name: [PAIRS[row].values[name] for row in range(COUNT)] for name in ("a", "b")}
    values["b"][LACKS_B] = None
    shapes = [SPACED if row % 4 == 1 else "plain" for row in range(COUNT)]
    words = [HARMFUL if row == 0 else ("red", "blue")[row % 2] for row in range(COUNT)]
    return ArraysSource(
        values, {"color": words, "shape": shapes}, [f"r{row}" if row else HARMFUL for row in range(COUNT)]
    )


def known():
    """What a call with these records needs."""
    return {"source": records(), "extensions": toys.extensions(), "device": "cpu"}


def make_collection(folder):
    """Train a run in a folder, index its records, and return what a page searches."""
    recipe = toys.pair_recipe() | {"train": {"epochs": 3, "accelerator": "cpu"}}
    sensorium.fit(recipe, source=records(), run_dir=folder / "run", extensions=toys.extensions())
    sensorium.index(folder / "run", **known())
    model = sensorium.load(folder / "run", extensions=toys.extensions(), device="cpu")
    return Collection(model, RecordIndex(folder / "run" / "index"), Previews(model.plan, records()), "a run")


@contextmanager
def served(collection):
    """Serve a collection on a free port, and yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(make_config(make_app(collection, TOKEN)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(10)


class Client:
    """Asks a page for addresses, with the cookie of who has the token."""

    def __init__(self, port: int, cookie: str = f"sensorium={TOKEN}") -> None:
        self.port, self.cookie = port, cookie

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[HTTPResponse, str]:
        """Return the answer and its text."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"Cookie": self.cookie, **named})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer, text

    def page(self, status: int = 200, **fields: str) -> str:
        """Return the page of some fields."""
        answer, text = self.ask("/?" + urlencode(fields))
        assert answer.status == status, text
        return text

    def send(self, fields: dict[str, str], file: bytes | None = None, name: str = "a.txt") -> tuple[HTTPResponse, str]:
        """Send the form, a file with it."""
        parts = [
            f'--x\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in fields.items()
        ]
        body = "".join(parts).encode()
        if file is not None:
            head = f'--x\r\nContent-Disposition: form-data; name="upload"; filename="{name}"\r\n\r\n'
            body += head.encode() + file + b"\r\n"
        return self.ask("/", "POST", body + b"--x--\r\n", Content_Type="multipart/form-data; boundary=x")


def ids_in(page: str) -> list[str]:
    """Return the ids of the records on a page, in their order."""
    return re.findall(r'title="Its neighbors">([^<]*)</a>', page)
