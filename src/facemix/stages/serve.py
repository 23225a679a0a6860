"""`facemix serve`: a page for a first look at a trained model, on this machine."""

import ipaddress
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from facemix.errors import FacemixError

if TYPE_CHECKING:
    from starlette.types import ASGIApp
    from uvicorn import Server

LARGEST_PORT = 2**16 - 1
WAIT_AT_END = 1
"""Seconds in which requests may end after Ctrl-C."""
CONNECTIONS = 32
"""More at once are answered with status 503."""


def serve(model: Path, port: int = 8000, host: str = "127.0.0.1") -> None:
    """Serves the page until Ctrl-C.

    Args:
        model: a folder as `facemix train` writes it, or a file of `facemix export`.
        port: 0 for any that is free.
        host: a name or an address of this machine.

    Raises:
        FacemixError: no readable model, or a host or port that cannot be used.
        KeyboardInterrupt: Ctrl-C, once the server has ended.
    """
    with listen(host, port) as listening:
        # Late: a port that is taken is told at once.
        from facemix.use import page
        from facemix.use.detector import Detector

        detector = Detector.load(model)
        hosts = names_of(host)
        if hosts is None:
            print(
                f"warning: --host {host} lets everybody who reaches this machine send pictures to it, without a "
                "password and without encryption. Browsers give no camera to such a page.",
                file=sys.stderr,
            )
        print(f"{model}: http://{_in_url(host)}:{listening.getsockname()[1]}/  (Ctrl-C ends it)", flush=True)
        server(page.app(detector, str(model), hosts)).run(sockets=[listening])


def server(app: "ASGIApp") -> "Server":
    """What answers for an app. It writes down nothing of what it is asked."""
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=WAIT_AT_END,
        )
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        FacemixError: the port is taken, or the host is none of this machine's.
    """
    if not 0 <= port <= LARGEST_PORT:
        raise FacemixError(f"--port: found {port}, expected a number from 0 to {LARGEST_PORT}; 0 takes any free one")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FacemixError(
            f"{host}, port {port}: cannot be listened to ({reason.lower()}); give another --port, where another "
            "program has this one, or another --host"
        ) from None


def names_of(host: str) -> frozenset[str] | None:
    """The names that a browser on this machine may have for a host; None where the host is open to others."""
    try:
        inside = ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = host == "localhost"
    return frozenset({"localhost", "127.0.0.1", "[::1]", _in_url(host)}) if inside else None


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
