"""A temporary file for what must not be held in memory."""

from __future__ import annotations

import errno
import os
import tempfile
import weakref
from pathlib import Path

from tfhub_transfer.errors import DataError


class Spool:
    """Bytes on disk: appended at the end, read anywhere, from several threads if need be.

    On POSIX systems the file has no name, so that the kernel frees it even if the process is
    killed; it is closed when the spool is collected.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="tfhub_transfer-", buffering=0)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self.size = 0

    def append(self, content: bytes) -> None:
        """Add `content` at the end.

        Raises:
            DataError: the disk is full.
        """
        remaining = memoryview(content)
        try:
            while remaining:
                remaining = remaining[self._file.write(remaining) :]
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise DataError(
                f"The disk of temporary files is full. Free some room there, or set TMPDIR to a "
                f"directory on another disk. Received: {tempfile.gettempdir()}, after "
                f"{self.size:,} bytes"
            ) from error
        self.size += len(content)

    def read(self, start: int, size: int) -> bytes:
        """Return `size` bytes from the byte `start` on."""
        # pread, not a memory map: the pages of a map count as this process' memory
        return os.pread(self._file.fileno(), size, start)

    def truncate(self, size: int) -> None:
        """Forget what was appended after the first `size` bytes."""
        self._file.truncate(size)
        self._file.seek(size)
        self.size = size

    def copy_to(self, target: Path) -> None:
        """Write all bytes to `target`."""
        block = 1 << 20
        with target.open("wb") as copy:
            for start in range(0, self.size, block):
                copy.write(self.read(start, min(block, self.size - start)))
