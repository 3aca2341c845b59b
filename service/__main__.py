"""`python -m service`: serves until SIGTERM, then shuts down gracefully."""

import asyncio
import logging
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Literal

import uvicorn

from service.app import Service, create_app
from service.asgi import App
from service.infrastructure.breaker import Unavailable
from service.settings import SettingError, Settings, load_settings
from service.telemetry.logs import set_up_logs

# With draining (3 s at most), the last requests and closing (CLOSE_SECONDS, 2.5 s), shutdown takes less than 10 s.
STOP_SECONDS = 4
LAST_REQUESTS_SECONDS = 0.25
# uvicorn's warnings about malformed requests and upgrades: any client could fill the log with them
ABOUT_CLIENTS = ("Invalid HTTP request", "Unsupported upgrade request", "No supported WebSocket library")


class Server(uvicorn.Server):
    """uvicorn with a second listener for metrics. On SIGTERM it first drains, so that the gateway stops sending."""

    def __init__(self, config: uvicorn.Config, metrics: uvicorn.Config, service: Service, drain_seconds: float) -> None:
        super().__init__(config)
        self._metrics = metrics
        self._service = service
        self._drain_seconds = drain_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_draining = False

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Starts both listeners, and keeps the event loop for the signal handler."""
        self._loop = asyncio.get_running_loop()
        metrics = await self._listen_for_scrapes()
        await super().startup(sockets)  # type: ignore[arg-type]
        self.servers.append(metrics)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On SIGTERM, drains and then stops. On Ctrl-C or a second signal, stops at once."""
        if sig != signal.SIGTERM or self._loop is None or self._is_draining or not self.started:
            super().handle_exit(sig, frame)
            return
        self._is_draining = True
        self._loop.call_soon_threadsafe(self._drain)

    async def shutdown(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Closes the listeners, and waits a moment for the requests of connections that were just accepted."""
        for server in self.servers:
            server.close()
        await asyncio.sleep(LAST_REQUESTS_SECONDS)
        await super().shutdown(sockets)  # type: ignore[arg-type]

    async def _listen_for_scrapes(self) -> asyncio.Server:
        config = self._metrics
        config.load()

        def create_protocol() -> asyncio.Protocol:
            # shares the server's state, so that its shutdown closes these connections too
            return config.http_protocol_class(config=config, server_state=self.server_state, app_state={})  # type: ignore[call-arg]

        try:
            return await asyncio.get_running_loop().create_server(create_protocol, config.host, config.port)
        except OSError as error:
            logging.getLogger("service").error("METRICS_PORT=%d cannot be listened on: %s", config.port, error)
            sys.exit(1)

    def _drain(self) -> None:
        self._service.drain()
        asyncio.get_running_loop().call_later(self._drain_seconds, self._stop)

    def _stop(self) -> None:
        self.should_exit = True


def main() -> int:
    """Exit status 0 after a requested stop, 2 for an invalid setting, 1 for anything else."""
    try:
        settings = load_settings()
    except SettingError as error:
        print(f"todo: {error}", file=sys.stderr)
        return 2
    set_up_logs(settings.log_level)
    logging.getLogger("uvicorn.error").addFilter(lambda record: not record.getMessage().startswith(ABOUT_CLIENTS))
    service = create_app(settings)
    try:
        asyncio.run(service.prepare())
    except Unavailable as error:
        print(f"todo: DATABASE_URL names no database that can be used: {error}", file=sys.stderr)
        return 1
    server = Server(
        _server_config(settings, settings.port, service.asgi, lifespan="on"),
        _server_config(settings, settings.metrics_port, service.metrics_asgi, lifespan="off"),
        service,
        settings.drain_seconds,
    )
    # uvicorn raises the signal again after its shutdown
    with suppress(KeyboardInterrupt):
        server.run()
    return 0 if server.started else 1


def _server_config(settings: Settings, port: int, app: App, lifespan: Literal["on", "off"]) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        interface="asgi3",
        host=settings.host,
        port=port,
        loop="uvloop",
        http="httptools",
        lifespan=lifespan,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        # WebSockets are not supported: the request is handled like any other
        ws="none",
        # otherwise a pipelined request would run in the context, and so in the trace, of the previous one
        reset_contextvars=True,
        timeout_graceful_shutdown=STOP_SECONDS,
        # longer than the gateway keeps idle connections, so that this side never closes one that is about to be used
        timeout_keep_alive=75,
    )


if __name__ == "__main__":
    sys.exit(main())
