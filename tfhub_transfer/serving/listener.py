"""REST's listener, on uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import math
import socket
import struct
import sys
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from tfhub_transfer.serving.ports import BACKLOG
from tfhub_transfer.serving.protocol import HttpProtocol
from tfhub_transfer.serving.telemetry import Telemetry

_SO_ATTACH_FILTER = 26  # of Linux, which Python does not name


class RestListener(uvicorn.Server):
    """uvicorn, on a socket of ours, that stops when it is told and not by signals.

    Args:
        app: the ASGI application.
        listener: listens.
        grace: seconds that answers may take once it is told to stop.
        telemetry: gets what uvicorn logs.
    """

    def __init__(self, app: ASGIApp, listener: socket.socket, grace: float, telemetry: Telemetry):
        self._listener = listener
        self._listening = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        _log_to(telemetry)
        super().__init__(
            uvicorn.Config(
                app,
                http=HttpProtocol,
                backlog=BACKLOG,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                ws="none",
                timeout_graceful_shutdown=math.ceil(grace),
            )
        )

    async def begin(self) -> None:
        """Accept clients from now on."""
        self._task = asyncio.create_task(self.serve(sockets=[self._listener]))
        await self._listening.wait()

    async def end(self) -> None:
        """Let each connection have the answer it waits for, and close it."""
        self.should_exit = True
        if self._task is not None:
            await self._task

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Be called by uvicorn."""
        await super().startup(sockets)
        self._listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Be called by uvicorn; it captures none."""
        yield

    async def until_unconnected(self, seconds: float) -> None:
        """Wait until no client is connected, or time is up."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while self.server_state.connections and loop.time() < end:
            await asyncio.sleep(0.02)

    async def stop_listening(self) -> None:
        """Accept no more clients, except those whom the kernel has accepted already.

        Closing the listener alone would reset their connections.
        """
        loop = asyncio.get_running_loop()
        _refuse_newcomers(self._listener)
        waiting = self._listener.dup()
        waiting.setblocking(False)
        for server in self.servers:
            server.close()
        accepted = []
        with contextlib.suppress(BlockingIOError):
            while True:
                accepted.append(waiting.accept()[0])
        waiting.close()
        for connection in accepted:
            await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        make = self.config.http_protocol_class
        return make(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


def _refuse_newcomers(listener: socket.socket) -> None:
    """Have the kernel drop packets that ask for a connection, so that none waits to be accepted.

    Those who ask try again within a second, and find nobody listening. Linux only: elsewhere a
    connection that is made between the last look and the end is reset.
    """
    if not sys.platform.startswith("linux"):
        return
    accept_nothing = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF: ret 0
    program = struct.pack("HL", 1, ctypes.addressof(accept_nothing))  # struct sock_fprog
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


class _ToTelemetry(logging.Handler):
    def __init__(self, telemetry: Telemetry):
        super().__init__(logging.WARNING)
        self._telemetry = telemetry

    def emit(self, record: logging.LogRecord) -> None:
        self._telemetry.event("http", level=record.levelname, message=record.getMessage())


def _log_to(telemetry: Telemetry) -> None:
    logger = logging.getLogger("uvicorn")
    logger.handlers = [_ToTelemetry(telemetry)]
    logger.propagate = False
