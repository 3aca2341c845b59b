"""A server with one response to everything."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def canned_server(answer: bytes) -> Iterator[str]:
    """Responds to every connection's first request with these bytes; yields the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
