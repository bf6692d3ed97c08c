"""An application behind a real server, on a port of its own."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import uvicorn

from everline.app.services import Services
from everline.app.web import create_app

START_S = 10.0


@contextmanager
def served(services: Services) -> Iterator[int]:
    """Its port on 127.0.0.1, for as long as it listens."""
    app = create_app(services)
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        deadline = time.monotonic() + START_S
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        try:
            yield listener.getsockname()[1]
        finally:
            services.closing.set()  # Streams of events end by themselves, as on a node that is stopped.
            server.should_exit = True
            thread.join(START_S)
