"""An application that is served on loopback, for a browser."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp


@contextmanager
def serving(app: ASGIApp, port: int = 0) -> Iterator[str]:
    """Its address, `http://127.0.0.1:43210`, until the end; `port`: an unused one, or this."""
    with socket.create_server(("127.0.0.1", port)) as place:
        settings = uvicorn.Config(
            app,
            log_config=None,  # it would close every log handler there is, and pytest's streams with one
            log_level="warning",
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(settings)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{place.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
