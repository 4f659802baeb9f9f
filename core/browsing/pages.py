"""The page: a form, what was asked, and the records found, rendered on the server without a script."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from sensorium.browsing.collection import Asked, Collection, one_break
from sensorium.browsing.guard import Guard
from sensorium.embeddings.table import LABEL
from sensorium.errors import RunError, SensoriumError
from sensorium.evaluation.shown import Shown
from sensorium.indexing.records import IndexedRecord

log = logging.getLogger("sensorium")
TEMPLATES = Path(__file__).parent / "templates"
HOSTS = ("127.0.0.1", "localhost")
"""Names of this machine that a page is asked for under; under any other one it is refused (DNS rebinding)."""
WORDS = 2000
"""Characters of words that stand in the address of a page; longer ones are kept here, and stand there by a key."""
COUNTS = (12, 24, 48, 96)
KEPT = ("text", "file", "id", "by", "target", "where", "part", "count")
"""Fields of the form that stand in the address of a page, beside the labels."""


def make_app(collection: Collection, token: str, cookie: str = "sensorium") -> Starlette:
    """Return the page as an application of Starlette.

    Args:
        collection: what it searches.
        token: which whoever sees it must know.
        cookie: the name of the cookie that holds the token.
    """
    pages = _Pages(collection)
    routes = [
        Route("/", pages.show, methods=["GET"]),
        Route("/", pages.upload, methods=["POST"]),
        Route("/style.css", lambda _: FileResponse(TEMPLATES / "style.css")),
    ]
    guards = [
        Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS), www_redirect=False),
        Middleware(Guard, token=token, cookie=cookie),
    ]
    return Starlette(routes=routes, middleware=guards)


@dataclass(frozen=True)
class _Found:
    """What a page shows: what was asked, which modality of how many records was searched, and the records."""

    asked: Asked | None = None
    target: str = ""
    searched: int = 0
    cards: list[tuple[IndexedRecord, dict[str, Shown]]] = field(default_factory=list)


class _Pages:
    def __init__(self, collection: Collection) -> None:
        self.collection, self.templates = collection, Jinja2Templates(TEMPLATES)

    def show(self, request: Request) -> Response:
        """Return the page of an address: what was asked, and what is found."""
        fields, found, problem = dict(request.query_params), _Found(), ""
        try:
            found = self._found(fields)
        except SensoriumError as error:
            problem = str(error)
        except Exception as error:  # of a library, at a value that nobody foresaw: the page stays
            log.warning("browse: %s: %s", type(error).__name__, error)
            problem = f"This could not be searched ({type(error).__name__})."
        return self._page(request, fields, found, problem)

    def _page(self, request: Request, fields: Mapping[str, str], found: _Found, problem: str) -> Response:
        made: dict[str, Any] = {
            "collection": self.collection,
            "fields": fields,
            "found": found,
            "problem": problem,
            "targets": self.collection.targets_of(found.asked),
            "counts": COUNTS,
            "label_prefix": LABEL,
            "address": address,
            "one_break": one_break,
        }
        return self.templates.TemplateResponse(request, "page.html", made, status_code=400 if problem else 200)

    async def upload(self, request: Request) -> Response:
        """Take the form, an uploaded file with it, and send to the page that shows what is found."""
        async with request.form(max_files=1, max_fields=100) as form:
            fields = {name: value for name, value in form.items() if isinstance(value, str) and value}
            if long := [name for name, value in fields.items() if name != "text" and len(value) > WORDS]:
                problem = f"'{long[0]}' has more than {WORDS:,} characters: shorten it."
                return self._page(request, {}, _Found(), problem)
            file = form.get("upload")
            if isinstance(file, UploadFile) and file.filename:
                fields = {name: value for name, value in fields.items() if name not in ("text", "id", "file")}
                try:
                    fields["file"] = await run_in_threadpool(self._keep, file, fields.get("by", ""))
                except SensoriumError as error:
                    return self._page(request, fields, _Found(), str(error))
                except Exception as error:
                    log.warning("browse: %s: %s", type(error).__name__, error)
                    name = f"'{Path(file.filename).name}' cannot be read"
                    return self._page(request, fields, _Found(), f"{name} ({type(error).__name__}).")
            elif "text" in fields:
                fields = {name: value for name, value in fields.items() if name not in ("id", "file")}
                if len(fields["text"]) > WORDS:
                    words = fields.pop("text")
                    try:
                        fields["file"] = await run_in_threadpool(
                            self.collection.keep_words, words, fields.get("by", "")
                        )
                    except SensoriumError as error:
                        return self._page(request, fields, _Found(), str(error))
        return RedirectResponse(address(fields), status_code=303)

    def _keep(self, file: UploadFile, by: str) -> str:
        """Return the key of what modalities read of an uploaded file; the file itself is not kept."""
        name = Path(file.filename or "").name
        with tempfile.TemporaryDirectory(prefix="sensorium-upload-") as folder:
            path = Path(folder, "upload" + "".join(c for c in Path(name).suffix if c.isalnum() or c == "."))
            path.write_bytes(file.file.read())
            return self.collection.keep_file(path, name, by)

    def _found(self, fields: Mapping[str, str]) -> _Found:
        """Return what the fields of an address ask for."""
        collection, asked = self.collection, self._asked(fields)
        condition = self._condition(fields)
        count = int(fields["count"]) if fields.get("count", "").isdigit() else COUNTS[1]
        count = min(max(count, 1), COUNTS[-1])
        if asked is None:
            return _Found(cards=self._cards(collection.index.first(count, condition)))
        targets = collection.targets_of(asked)
        if not targets:
            raise RunError(f"'{asked.modality}' shares no space with what is indexed.")
        target = fields.get("target") or targets[0]
        records, searched = collection.search(asked, target, count, condition)
        return _Found(asked, target, searched, self._cards(records))

    def _cards(self, records: list[IndexedRecord]) -> list[tuple[IndexedRecord, dict[str, Shown]]]:
        return [(record, self.collection.show(record)) for record in records]

    def _asked(self, fields: Mapping[str, str]) -> Asked | None:
        """Return what is searched for; None where the fields ask for nothing, and records are shown as they stand."""
        by = fields.get("by", "")
        if fields.get("id"):
            return self.collection.ask_record(fields["id"], by)
        if fields.get("file"):
            return self.collection.ask_file(fields["file"], by)
        return self.collection.ask(fields["text"], by) if fields.get("text") else None

    def _condition(self, fields: Mapping[str, str]) -> str | None:
        asked = {name: self.collection.chosen(name, fields.get(LABEL + name, "")) for name in self.collection.choices}
        labels = {name: value for name, value in asked.items() if value is not None}
        return self.collection.index.condition(fields.get("part") or "all", fields.get("where") or None, labels)


def address(fields: Mapping[str, Any], **changes: Any) -> str:
    """Return the address of a page: fields of the form, some changed or, by "", left out."""
    merged = {**fields, **changes}
    return "/?" + urlencode(
        {name: value for name, value in merged.items() if value and (name in KEPT or name.startswith(LABEL))}
    )
