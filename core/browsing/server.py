"""The server of the page: uvicorn on the loopback address, until Ctrl-C."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from contextlib import closing, suppress

import uvicorn
from starlette.types import ASGIApp

from sensorium.browsing.collection import Collection
from sensorium.browsing.pages import make_app
from sensorium.errors import RunError

ADDRESS = "127.0.0.1"


def serve(collection: Collection, port: int, announce: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C.

    Args:
        collection: what it searches.
        port: of 127.0.0.1; 0 takes a free one.
        announce: is told the address, once it can be opened.

    Raises:
        RunError: when the port is taken.
    """
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((ADDRESS, port))
        except (OSError, OverflowError) as error:
            raise RunError(
                f"Port {port} cannot be opened ({error}): choose another --port, or 0 for a free one."
            ) from error
        listening.listen()
        port = listening.getsockname()[1]
        token = secrets.token_urlsafe(24)
        app = make_app(collection, token, f"sensorium-{port}")
        server = uvicorn.Server(make_config(app))
        with suppress(KeyboardInterrupt):
            announce(f"http://{ADDRESS}:{port}/?token={token}")
            server.run(sockets=[listening])


def make_config(app: ASGIApp) -> uvicorn.Config:
    """Return how the page is served."""
    return uvicorn.Config(
        app,
        http="h11",
        h11_max_incomplete_event_size=2**18,  # an address may hold words and a filter
        log_level="warning",
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=2,
    )
