"""Ports to listen on, and what is said of one that cannot be had. Imports no TensorFlow."""

from __future__ import annotations

import errno
import os
import socket

from tfhub_transfer.errors import ConfigError
from tfhub_transfer.serving.settings import ServeConfig

BACKLOG = 2048


def check_ports(config: ServeConfig) -> None:
    """Refuse ports that cannot be listened on now; told before what takes long is begun.

    Raises:
        ConfigError: one is taken, or not this user's to take.
    """
    for flag in ("rest_api_port", "port"):
        port = getattr(config, flag)
        if port > 0:
            listen(config.host, port, flag).close()


def in_address(host: str) -> str:
    """Return a host as addresses with a port have it: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def listen(host: str, port: int, flag: str) -> socket.socket:
    """Return a socket that listens.

    Args:
        host: a name or an address of this machine.
        port: 0 for any free one.
        flag: that the port comes from, for errors.

    Raises:
        ConfigError: it is taken, or not this user's to take.
    """
    listener = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise cannot_listen(host, port, flag, error) from error
    return listener


def cannot_listen(host: str, port: int, flag: str, error: Exception) -> ConfigError:
    """Return the error for a port that cannot be listened on."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, socket.gaierror):
        return ConfigError(
            f"The server cannot listen at --host: {error.strerror}. Received: {host}"
        )
    if number == errno.EADDRINUSE:
        why = "another process listens there"
    else:
        why = os.strerror(number) if number else str(error)
    return ConfigError(
        f"The server cannot listen at --{flag}: {why}. Give another port, 0 to go without, or -1 "
        f"for any free one. Received: {in_address(host)}:{port}"
    )
