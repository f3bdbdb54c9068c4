"""One process, one event loop: REST and gRPC beside each other, until told to stop.

Told to stop, the server first says so: `/readyz` turns 503, and each REST answer asks its client to
connect anew the next time. It goes on accepting for a moment, for the clients and load balancers
that do not know yet, then accepts no more, answers what it has accepted, and ends.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from typing import NoReturn

import grpc.aio

from tfhub_transfer.serving.batching import BatchingParameters
from tfhub_transfer.serving.grpc import add_services
from tfhub_transfer.serving.limits import Limits
from tfhub_transfer.serving.listener import RestListener
from tfhub_transfer.serving.model_config import configured_models
from tfhub_transfer.serving.ports import cannot_listen, in_address, listen
from tfhub_transfer.serving.rest import application
from tfhub_transfer.serving.service import Service
from tfhub_transfer.serving.settings import ServeConfig
from tfhub_transfer.serving.telemetry import Telemetry
from tfhub_transfer.serving.timeout import Timeout
from tfhub_transfer.serving.versions import Models

_DRAIN_SECONDS = 1.0
_LAST_SECONDS = 1.0  # for those who connected just before the listener closed
# The model's thread has to get the GIL from the loop's. CPython's 5 ms are more than most answers
# take: with 0.5 ms, the p99 of 8 clients fell from 6.6 to 3.3 ms, at 2% fewer requests a second.
_SWITCH_SECONDS = 0.0005
_STOPPED_AT_ONCE = 1  # the exit code where requests may be left unanswered


class Server:
    """Both APIs, listening; belongs to the running event loop.

    Args:
        config: the settings.
        telemetry: a new one, to standard error, when not given.

    Attributes:
        models: what is served.
        service: what both APIs use.
        rest_port: where REST listens; 0 when it is off.
        grpc_port: where gRPC listens; 0 when it is off.

    Raises:
        ConfigError: a file that the settings name cannot be used.
    """

    def __init__(self, config: ServeConfig, telemetry: Telemetry | None = None):
        self._config = config
        self._telemetry = telemetry or Telemetry(log_texts=config.log_texts)
        parameters = BatchingParameters()
        if config.batching_parameters_file:
            parameters = BatchingParameters.read(config.batching_parameters_file)
        self.models = Models(configured_models(config), config, parameters, self._telemetry)
        limits = Limits(config.max_body_bytes, config.max_text_bytes, config.max_instances)
        self.service = Service(self.models, limits, self._telemetry)
        self.rest_port = 0
        self.grpc_port = 0
        self._rest: RestListener | None = None
        self._grpc: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listen, and begin to load the models.

        Raises:
            ConfigError: a port is taken, or is not this user's to take.
        """
        config = self._config
        if config.rest_api_port:
            listener = listen(config.host, max(0, config.rest_api_port), "rest_api_port")
            self.rest_port = listener.getsockname()[1]
            app = application(self.service)
            limited = Timeout(app, config.rest_api_timeout_in_ms, self._telemetry)
            self._rest = RestListener(limited, listener, config.grace_seconds, self._telemetry)
        try:
            if config.port:
                await self._start_grpc()
        except BaseException:
            if self._rest is not None:
                listener.close()
            raise
        if self._rest is not None:
            await self._rest.begin()
        self._telemetry.event(
            "listening", host=config.host, rest=self.rest_port, grpc=self.grpc_port
        )
        self.models.start()

    async def stop(self) -> None:
        """Answer what was accepted, for up to `grace_seconds`, and end."""
        grace = self._config.grace_seconds
        self.service.draining = True
        self._telemetry.event("draining", grace_seconds=grace)
        await asyncio.sleep(min(_DRAIN_SECONDS, grace))
        endings = []
        if self._grpc is not None:
            endings.append(self._end_grpc(self._grpc, grace))
        if self._rest is not None:
            endings.append(self._end_rest(self._rest, grace))
        await asyncio.gather(*endings)
        await self.models.close()
        self._telemetry.event("stopped")

    def addresses(self) -> str:
        """Return what is served and where, in one line."""
        latest = self.models.latest()
        host = in_address(self._config.host)
        root = f"http://{host}:{self.rest_port}"
        places = []
        if self.rest_port:
            (*_, last) = latest
            places.append(f"REST {root}/v1/models/{last if len(latest) == 1 else 'NAME'}")
        if self.grpc_port:
            places.append(f"gRPC {host}:{self.grpc_port}")
        if self.rest_port:
            places.append(f"page {root}/")
        served = ", ".join(f"{name} version {number}" for name, number in latest.items())
        return f"serving {served}: {', '.join(places)}"

    async def _start_grpc(self) -> None:
        host, port = self._config.host, max(0, self._config.port)
        listen(host, port, "port").close()  # gRPC's own error names neither port nor reason
        self._grpc = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", self._config.max_body_bytes),
                ("grpc.max_send_message_length", -1),
            ]
        )
        add_services(self._grpc, self.service)
        try:
            self.grpc_port = self._grpc.add_insecure_port(f"{in_address(host)}:{port}")
        except RuntimeError as error:
            raise cannot_listen(host, port, "port", error) from error
        await self._grpc.start()

    async def _end_grpc(self, server: grpc.aio.Server, grace: float) -> None:
        # A request that has arrived but not begun when gRPC's server stops is answered CANCELLED,
        # https://github.com/grpc/grpc/issues/41785. UNAVAILABLE is what clients know as a reason
        # to go elsewhere, so they are told so first.
        self.service.closing = True
        await asyncio.sleep(min(_LAST_SECONDS, grace))
        await server.stop(grace)

    async def _end_rest(self, rest: RestListener, grace: float) -> None:
        await rest.stop_listening()
        await rest.until_unconnected(min(_LAST_SECONDS, grace))
        await rest.end()


def serve(config: ServeConfig) -> NoReturn:
    """Serve until SIGTERM or SIGINT, and end the process; a second one ends it on the spot.

    Raises:
        ConfigError: see `Server`.
    """
    # What was imported stays: the collections after a version is let go of need not look at it.
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(_SWITCH_SECONDS)
    loop = _new_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(_serve_until_told(config))
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    # Python would wait for its threads, of which one may load from a file system that hangs.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


async def _serve_until_told(config: ServeConfig) -> None:
    told = asyncio.Event()

    def on_signal() -> None:
        if told.is_set():
            os._exit(_STOPPED_AT_ONCE)
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    server = Server(config)
    await server.start()
    announcing = asyncio.create_task(_announce(server))
    await told.wait()
    announcing.cancel()
    await server.stop()


async def _announce(server: Server) -> None:
    await server.models.wait_until_ready()
    print(server.addresses(), file=sys.stderr, flush=True)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # it has no build for every platform
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
