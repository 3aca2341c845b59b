"""A server for metrics pages with fixed content, as targets of a real Prometheus: a healthy stack without traffic."""

import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

Page = Callable[[], bytes]


class Expositions:
    """Serves each page at its path, on a free port."""

    def __init__(self, pages: Mapping[str, Page], content_type: str = "text/plain; version=0.0.4") -> None:
        class Handler(BaseHTTPRequestHandler):
            # keep-alive: a connection serves many scrapes
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                page = pages.get(self.path)
                body = page() if page else b""
                self.send_response(200 if page else 404)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                # the scrape has timed out
                with suppress(BrokenPipeError, ConnectionResetError):
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            # a hundred targets may be scraped at once
            request_queue_size = 128

            def handle_error(self, request: object, client_address: object) -> None:
                # the scraper has closed the connection
                if not isinstance(sys.exc_info()[1], ConnectionError):
                    super().handle_error(request, client_address)  # type: ignore[arg-type]

        self._server = Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
