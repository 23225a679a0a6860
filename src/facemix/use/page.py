"""A local page for a first look at a detector: a picture in, points and how sure they are out.

The page is one file, and loads nothing from elsewhere. A picture is in memory until it is answered, and nowhere else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Collection
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from facemix.errors import FacemixError
from facemix.faces.face import BrokenFace
from facemix.use import uploads
from facemix.use.answer import answer, boxes_of
from facemix.use.uploads import BAD_REQUEST, OF_ANOTHER_TYPE, RefusedError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from facemix.use.detector import Detector

NAME = Path("the picture")
"""What messages call it: its file's name stays in the browser."""
LONGEST_BOXES = 10_000
"""Characters of the boxes that a request names."""
PATIENCE = 5
"""Times the largest file: so much is read and thrown away, because who is cut off never reads why."""
TYPES = ("image/", "application/octet-stream")
"""A page of another site cannot send these without being asked: a form knows only others."""


def app(detector: Detector, name: str, hosts: Collection[str] | None = None) -> ASGIApp:
    """The page and what it asks.

    `GET /` is the page, `GET /model` says what the detector is. `POST /faces` takes a picture's file as its body, and
    `?boxes=[[x0, y0, x1, y1], ...]` where the faces are not to be found; it gives what `answer` does, with `width`,
    `height` and `ms` of its parts. An error is `{"detail": what was found and expected}`.

    Args:
        detector: what finds the points.
        name: what people call it.
        hosts: names that a browser may have for this server, without port. A page of another site that makes its own
            name lead here (DNS rebinding) has none of them. None: any.
    """
    text = (files("facemix.use") / "page.html").read_text(encoding="utf-8")
    about = _about(detector, name)
    one_at_a_time = threading.Lock()

    async def page(_request: Request) -> Response:
        return HTMLResponse(text)

    async def model(_request: Request) -> Response:
        return JSONResponse(about)

    async def faces(request: Request) -> Response:
        boxes = _boxes(request.query_params.get("boxes"))
        data = await _body(request)
        return JSONResponse(await run_in_threadpool(_look, detector, one_at_a_time, data, boxes))

    routes = [Route("/", page), Route("/model", model), Route("/faces", faces, methods=["POST"])]
    handlers: dict[Any, Any] = {
        FacemixError: _refused,
        BrokenFace: _refused,
        HTTPException: _unknown,
        ClientDisconnect: _gone,
    }
    return _Guard(Starlette(routes=routes, exception_handlers=handlers), _policy(text), hosts)


def _about(detector: Detector, name: str) -> dict[str, Any]:
    """What the page must know of a detector."""
    return {
        "name": name,
        "scheme": detector.scheme.name,
        "points": list(detector.scheme.points),
        "finds": detector.finder is not None,
        "radius_per_error": {f"{level:g}": radius for level, radius in detector.radius.items()},
        "megabytes": uploads.MEGABYTES,
    }


def _look(
    detector: Detector, one_at_a_time: threading.Lock, data: bytes, boxes: npt.NDArray[np.float64] | None
) -> dict[str, Any]:
    """The faces of a picture's file. One at a time: so no more than one large picture is in memory."""
    with one_at_a_time:
        start = time.perf_counter()
        picture = uploads.decode(NAME, data)
        decoded = time.perf_counter()
        found = detector.find(picture) if boxes is None else detector.predict(picture, boxes)
        done = time.perf_counter()
    height, width = picture.shape[:2]
    ms = {"decode": round(1e3 * (decoded - start), 1), "faces": round(1e3 * (done - decoded), 1)}
    return {"width": width, "height": height, "ms": ms, **answer(found)}


def _boxes(given: str | None) -> npt.NDArray[np.float64] | None:
    if given is None:
        return None
    if len(given) > LONGEST_BOXES:
        raise RefusedError(BAD_REQUEST, f"boxes: found {len(given)} characters, expected at most {LONGEST_BOXES}")
    try:
        parsed = json.loads(given)
    except (ValueError, RecursionError):
        parsed = given
    return boxes_of("boxes", parsed)


async def _body(request: Request) -> bytes:
    """The body of a request, which is a picture's file.

    Raises:
        RefusedError: more than MEGABYTES, whatever the header says; a body of another type.
    """
    kind = request.headers.get("content-type", "none")
    if not kind.startswith(TYPES):
        raise RefusedError(
            OF_ANOTHER_TYPE, f"Content-Type: found {kind[:100]}, expected the picture's file as the body, as image/jpeg"
        )
    limit = uploads.MEGABYTES * 1e6
    declared = request.headers.get("content-length", "")
    size = int(declared) if declared.isdecimal() else 0
    if size > PATIENCE * limit:
        raise uploads.too_large(NAME, f"{size / 1e6:.1f} MB")
    content, size = bytearray(), 0
    async for part in request.stream():
        size += len(part)
        if size <= limit:
            content += part
        elif size > PATIENCE * limit:
            break
    if size > limit:
        raise uploads.too_large(NAME, f"over {uploads.MEGABYTES} MB")
    return bytes(content)


async def _refused(_request: Request, error: Exception) -> Response:
    # What was not read of the body must not be taken for the next request.
    return JSONResponse({"detail": str(error)}, getattr(error, "status", BAD_REQUEST), {"Connection": "close"})


async def _unknown(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code, {"Connection": "close"})


async def _gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=BAD_REQUEST)  # to nobody


def _policy(text: str) -> str:
    """The Content-Security-Policy of the page: its own style and script, by their digests, and nothing else."""

    def own(tag: str) -> str:
        blocks = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digests = (base64.b64encode(hashlib.sha256(block.encode()).digest()).decode() for block in blocks)
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {own('script')}",
            f"style-src {own('style')}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


class _Guard:
    """Asks each request for whom it is, and puts what protects the page into each answer."""

    def __init__(self, inner: ASGIApp, policy: str, hosts: Collection[str] | None) -> None:
        self.inner, self.hosts = inner, hosts
        self.headers = [
            (name.encode(), value.encode())
            for name, value in (
                ("content-security-policy", policy),
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "no-referrer"),
                ("cross-origin-resource-policy", "same-origin"),
                ("permissions-policy", "camera=(self), microphone=(), geolocation=()"),
                ("cache-control", "no-store"),
            )
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self.headers]
            await send(message)

        if scope["type"] == "http" and self.hosts is not None and (name := _host(scope)) not in self.hosts:
            expected = ", ".join(sorted(self.hosts))
            detail = f"Host: found {name!r}, expected one of {expected}; open the address that `facemix serve` prints"
            await JSONResponse({"detail": detail}, BAD_REQUEST, {"Connection": "close"})(scope, receive, guarded)
            return
        await self.inner(scope, receive, guarded)


def _host(scope: Scope) -> str:
    """The name, without port, under which a request came."""
    given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    return re.sub(r":\d*$", "", given).lower()
