"""Who may see the page: whoever has its token, at an address of this machine, with bodies of bounded size."""

from __future__ import annotations

import secrets

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

UPLOAD = 32 * 2**20
"""Bytes of the largest upload."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src data:; media-src data:; style-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""The page runs no scripts, loads nothing from elsewhere, stands in no other page, and is kept nowhere."""


class Guard:
    """Asks for the token once, in the address, and then for the cookie that it is answered with.

    Args:
        app: what is guarded.
        token: a random one.
        cookie: its name, which is another for each port.
    """

    def __init__(self, app: ASGIApp, token: str, cookie: str) -> None:
        self.app, self.token, self.cookie = app, token, cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let through."""
        request = Request(scope, receive)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        answer = await self._refusal(request)
        await (self.app if answer is None else answer)(scope, receive, guarded)

    async def _refusal(self, request: Request) -> Response | None:
        """Return the answer to whom is not let through."""
        if self._is_token(request.query_params.get("token", "")):
            welcome = RedirectResponse("/", status_code=303)
            welcome.set_cookie(self.cookie, self.token, httponly=True, samesite="strict")
            return welcome
        if not self._is_token(request.cookies.get(self.cookie, "")):
            sentence = "Open the address that `sensorium browse` printed: it has the token of this page.\n"
            return PlainTextResponse(sentence, status_code=403)
        if request.method == "POST":
            length = request.headers.get("content-length", "")
            if not length.isdigit():
                return PlainTextResponse("An upload must say how long it is.\n", status_code=411)
            if int(length) > UPLOAD:
                await _read_away(request)
                sentence = (
                    f"The file is larger than {UPLOAD // 2**20} MiB, the most that is taken: upload a smaller one.\n"
                )
                return PlainTextResponse(sentence, status_code=413)
        return None

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self.token.encode())


async def _read_away(request: Request) -> None:
    """Read what is not taken, up to a bound: a browser shows no answer before it has sent everything."""
    seen = 0
    async for chunk in request.stream():
        seen += len(chunk)
        if seen > 8 * UPLOAD:
            return
