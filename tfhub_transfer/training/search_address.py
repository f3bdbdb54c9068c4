"""Where a search's chief listens and its workers look for it. Imports no TensorFlow."""

from __future__ import annotations

import errno
import os
import re
import socket
from dataclasses import dataclass
from typing import Any

from tfhub_transfer.errors import ConfigError

__all__ = ["Address"]


@dataclass(frozen=True)
class Address:
    """A host and a port.

    Attributes:
        host: a name or an address, IPv6 without brackets.
        port: from 1 on.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read HOST:PORT.

        Raises:
            ConfigError: it is something else.
        """
        found = re.fullmatch(r"(?:\[([^\[\]\s]+)\]|([^:\[\]\s]+)):(\d{1,5})", text)
        if found is None or not 0 < int(found[3]) < 2**16:
            raise ConfigError(
                f"oracle must be HOST:PORT, as in 127.0.0.1:9000 or [::1]:9000, with a port from 1 "
                f"to 65535. Received: {text!r}"
            )
        return cls(found[1] or found[2], int(found[3]))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def check_free(self) -> None:
        """Check that a chief could listen here now.

        Raises:
            ConfigError: the port is taken, or the host is not this machine's.
        """
        try:
            family, kind, protocol, _, address = self._resolved(passive=True)
            with socket.socket(family, kind, protocol) as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(address)
                listener.listen()
        except OSError as error:
            raise self.cannot_listen(error) from error

    def cannot_listen(self, error: Exception) -> ConfigError:
        """Return the error of a chief that cannot listen here."""
        number = error.errno if isinstance(error, OSError) else None
        why = {
            errno.EADDRINUSE: "another process listens there",
            errno.EADDRNOTAVAIL: "the host is not this machine",
        }.get(number or 0) or (os.strerror(number) if number else str(error))
        return ConfigError(
            f"The chief cannot listen at --oracle: {why}. Accepted: a name or address of this "
            f"machine and a free port. Received: {self}"
        )

    def check_known(self) -> None:
        """Check that the host's name can be looked up.

        Raises:
            ConfigError: it cannot.
        """
        self._resolved(passive=False)

    def _resolved(self, *, passive: bool) -> tuple[Any, ...]:
        flags = socket.AI_PASSIVE if passive else 0
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=flags)
        except socket.gaierror as error:
            raise ConfigError(
                f"The host of --oracle is unknown: {error.strerror}. Accepted: the chief's name or "
                f"address. Received: {self}"
            ) from error
        return found[0]
