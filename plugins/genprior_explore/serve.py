"""The local server of the page; nothing is asked of another machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
import threading
import webbrowser
from collections.abc import Iterator, Sequence
from typing import Any

from genprior import RunError
from genprior_explore.explorer import Explorer

__all__ = ["application", "free_socket", "serve"]

HOST = "127.0.0.1"
PORTS = range(7860, 7960)


@contextlib.contextmanager
def free_socket(port: int | None) -> Iterator[socket.socket]:
    """A socket that listens on this machine alone: at the port, or at the first free one of `PORTS`.

    Raises:
        RunError: the port is in use, or all of them are.
    """
    for number in PORTS if port is None else (port,):
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((HOST, number))
            listening.listen(128)
        except OSError as error:
            listening.close()
            if port is not None:
                raise RunError(
                    f"port {port} cannot be used: {error.strerror or error}; give another --port, or leave it out for "
                    f"the first free one from {PORTS.start}"
                ) from error
            continue
        with listening:
            yield listening
        return
    raise RunError(f"all ports from {PORTS.start} to {PORTS.stop - 1} are in use; give a free one as --port")


def application(explorers: Sequence[Explorer]) -> Any:
    """The page as an ASGI application, which lets a browser ask nothing of another machine."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import gradio
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from genprior_explore.app import CSS, Page, theme

    server = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    blocks = Page(explorers).build()
    gradio.mount_gradio_app(
        server, blocks, path="/", theme=theme(), css=CSS, footer_links=[], ssr_mode=False, enable_monitoring=False
    )
    server.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])

    server.middleware("http")(_at_home)
    return server


async def _at_home(request: Any, call_next: Any) -> Any:
    """The answer, which tells a browser to load nothing from another machine.

    Pages of other sites are refused, since a browser lets them send forms to this machine; so are files, because the
    page takes none and Gradio would keep them.
    """
    from starlette.responses import PlainTextResponse

    origin = request.headers.get("origin")
    if origin is not None and origin != f"http://{request.headers.get('host')}":
        return PlainTextResponse("this page answers only to itself", status_code=403)
    if request.scope["path"].rstrip("/").endswith("/upload"):
        return PlainTextResponse("this page takes no files", status_code=403)
    answer = await call_next(request)
    answer.headers["Content-Security-Policy"] = (
        "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'"
    )
    return answer


@contextlib.contextmanager
def _ending() -> Iterator[None]:
    """SIGTERM and a closed terminal end the block as Ctrl-C does, so that what it made is removed."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    def terminate(number: int, frame: object) -> None:
        signal.raise_signal(signal.SIGTERM)  # which the server ends at

    wanted = {"SIGTERM": end, "SIGHUP": terminate} if threading.current_thread() is threading.main_thread() else {}
    found = {signal.Signals[name]: call for name, call in wanted.items() if name in signal.Signals.__members__}
    # A signal that is ignored, as by nohup, stays so.
    before = {each: signal.signal(each, found[each]) for each in found if signal.getsignal(each) != signal.SIG_IGN}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def serve(explorers: Sequence[Explorer], listening: socket.socket, *, show: bool) -> None:
    """Serve the page until Ctrl-C, SIGTERM or the end of the terminal.

    Gradio's files lie in a temporary folder of this server, which is removed at the end: Gradio's own is kept, and is
    one for all users of a machine. Pictures are not among them.

    Args:
        explorers: the runs.
        listening: the socket.
        show: whether to open the page in a browser.
    """
    import uvicorn

    temporary = tempfile.TemporaryDirectory(prefix="genprior-explore-", ignore_cleanup_errors=True)
    with _ending(), temporary as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        app = application(explorers)
        address = f"http://{HOST}:{listening.getsockname()[1]}"
        print(f"{address} shows {' and '.join(e.title for e in explorers)}; Ctrl-C ends it", flush=True)  # noqa: T201
        if show:
            webbrowser.open(address)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
