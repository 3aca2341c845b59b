"""`python -m service`: serves until SIGTERM, then stops without losing a request."""

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

# With the time for draining (3 s at most) and for closing (2 s), all is over within ten seconds.
STOP_SECONDS = 4
LAST_REQUESTS_SECONDS = 0.25
# what uvicorn has to say of requests that cannot be read or want to upgrade: any stranger could fill the log with it
ABOUT_CLIENTS = ("Invalid HTTP request", "Unsupported upgrade request", "No supported WebSocket library")


class Server(uvicorn.Server):
    """uvicorn with a second listener, for metrics. On SIGTERM it drains first: the gateway turns elsewhere."""

    def __init__(self, config: uvicorn.Config, metrics: uvicorn.Config, service: Service, drain_seconds: float) -> None:
        super().__init__(config)
        self._metrics = metrics
        self._service = service
        self._drain_seconds = drain_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_draining = False

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Starts both listeners, and notes the loop on which the signals are to be handled."""
        self._loop = asyncio.get_running_loop()
        metrics = await self._listen_for_scrapes()
        await super().startup(sockets)  # type: ignore[arg-type]
        self.servers.append(metrics)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drains first, for SIGTERM; stops at once for Ctrl-C, or where it is asked a second time."""
        if sig != signal.SIGTERM or self._loop is None or self._is_draining or not self.started:
            super().handle_exit(sig, frame)
            return
        self._is_draining = True
        self._loop.call_soon_threadsafe(self._drain)

    async def shutdown(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Takes no more connections, and gives those that were just taken the time to bring their request."""
        for server in self.servers:
            server.close()
        await asyncio.sleep(LAST_REQUESTS_SECONDS)
        await super().shutdown(sockets)  # type: ignore[arg-type]

    async def _listen_for_scrapes(self) -> asyncio.Server:
        config = self._metrics
        config.load()

        def create_protocol() -> asyncio.Protocol:
            # the connections are this server's, and end with it
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
    """Exit status 0 after a stop that was asked for, 2 for a setting that does not parse, 1 for anything else."""
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
    # which uvicorn raises again, once it has stopped as asked
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
        # a WebSocket attempt is a request like any other, and there is nothing to upgrade to
        ws="none",
        # else a pipelined request would run in the context, and so in the trace, of the one before it
        reset_contextvars=True,
        timeout_graceful_shutdown=STOP_SECONDS,
        # longer than the gateway keeps an idle connection, so that it is never this side that closes one in use
        timeout_keep_alive=75,
    )


if __name__ == "__main__":
    sys.exit(main())
