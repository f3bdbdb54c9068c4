"""Every error this package raises on purpose.

    TransferError
    |-- ConfigError              a setting, or a combination of settings, that cannot work
    |-- UnknownNameError         a name that no registry or catalogue holds
    |-- DataError                the examples: where they are, and what is wrong with them
    |   |-- MissingColumnError   a named column that the source does not have
    |   `-- UnreadableFileError  a truncated, undecodable or otherwise broken file
    |-- EncoderError             a pre-trained encoder that cannot be found, fetched or used
    |   |-- OfflineError         it would have to be fetched, and that was forbidden
    |   |-- DownloadError        the server's answer, or the connection, was no good
    |   `-- CorruptEncoderError  files that are missing, truncated, unsafe or of another checksum
    |-- CacheError               the feature cache on disk does not fit what was asked of it
    |-- TrainingError            a training that cannot go on, such as one that diverged
    |-- RunError                 a run directory that is taken, locked, or not a run
    |   `-- DiskError            a file of it that cannot be written
    |-- ArtifactError            an exported model that cannot be written or read
    |   |-- AuditError           it has ops that the server it is meant for would refuse
    |   `-- ConversionError      a format that it cannot be converted to
    `-- ServingError             a request that the server refuses; in `serving.status`

Each text says what was wrong, where, what would be accepted, and ends with what was received.
Commands print the text without a traceback and exit with code 2.
"""

from __future__ import annotations

import errno

__all__ = [
    "DISK_ERRORS",
    "ArtifactError",
    "AuditError",
    "CacheError",
    "ConfigError",
    "ConversionError",
    "CorruptEncoderError",
    "DataError",
    "DiskError",
    "DownloadError",
    "EncoderError",
    "MissingColumnError",
    "OfflineError",
    "RunError",
    "TrainingError",
    "TransferError",
    "UnknownNameError",
    "UnreadableFileError",
]


# A full disk, a read-only one, a file that is not ours: nothing that a traceback would explain.
DISK_ERRORS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
)


class TransferError(Exception):
    """The root: catch this to catch whatever the package raises on purpose."""


class ConfigError(TransferError, ValueError):
    """A setting, or a combination of settings, that cannot work."""


class UnknownNameError(TransferError, LookupError):
    """A name that no registry or catalogue holds."""


class DataError(TransferError, ValueError):
    """The examples: where they are, and what is wrong with them."""


class MissingColumnError(DataError):
    """A named column that the source does not have."""


class UnreadableFileError(DataError):
    """A truncated, undecodable or otherwise broken file."""


class EncoderError(TransferError):
    """A pre-trained encoder that cannot be found, fetched or used."""


class OfflineError(EncoderError):
    """An encoder would have to be fetched, and that was forbidden."""


class DownloadError(EncoderError):
    """A server's answer, or the connection to it, was no good."""


class CorruptEncoderError(EncoderError):
    """Encoder files that are missing, truncated, unsafe or of another checksum."""


class CacheError(TransferError):
    """The feature cache on disk does not fit what was asked of it."""


class TrainingError(TransferError):
    """A training that cannot go on, such as one that diverged."""


class RunError(TransferError):
    """A run directory that is taken, locked, or not a run."""


class DiskError(RunError):
    """A file that cannot be written, as on a full disk."""


class ArtifactError(TransferError):
    """An exported model that cannot be written or read."""


class AuditError(ArtifactError):
    """An exported model has ops that the server it is meant for would refuse."""


class ConversionError(ArtifactError):
    """A format that an exported model cannot be converted to."""
