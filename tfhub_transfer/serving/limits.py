"""How much a request may ask for; checked before anything is multiplied or run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tfhub_transfer.serving.status import Code, ServingError

_EXAMPLE_ROOM = 100  # bytes that a tf.Example has around a text, so that both APIs take the same
VALUES_EACH = 64  # a tf.Example of a text model has one, and perhaps an identifier


@dataclass(frozen=True)
class Limits:
    """The limits of every request.

    Attributes:
        max_body_bytes: of a request as sent, REST or gRPC, and of its texts together.
        max_text_bytes: of one instance in UTF-8, a question and its context together; a serialized
            tf.Example has some room for more.
        max_instances: in one request.
    """

    max_body_bytes: int = 16 * 2**20
    max_text_bytes: int = 100_000
    max_instances: int = 1024

    @property
    def max_values(self) -> int:
        """How many features and values the tf.Examples of a request may have together.

        Each is read in Python. Without this, one request of small numbers took half a minute.
        """
        return VALUES_EACH * self.max_instances

    def check_count(self, count: int) -> None:
        """Refuse an empty request, or one of too many instances.

        Raises:
            ServingError: it is one.
        """
        if not count:
            raise ServingError(Code.INVALID_ARGUMENT, "Input is empty.", quotes_no_text=True)
        if count > self.max_instances:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"A request may have {self.max_instances} instances (--max_instances). "
                f"Received: {count}",
                quotes_no_text=True,
            )

    def check_sizes(self, sizes: Sequence[int], *, of_examples: bool = False) -> None:
        """Refuse an instance that is too long, or instances that are so together.

        Together they are only where the request repeats one of them, or a context, many times.

        Args:
            sizes: of each instance in bytes; one at least.
            of_examples: they are serialized tf.Examples.

        Raises:
            ServingError: one is, or they are.
        """
        room = _EXAMPLE_ROOM if of_examples else 0
        largest = max(sizes)
        if largest > self.max_text_bytes + room:
            around = f", and its tf.Example {room} more" if room else ""
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"An instance may have {self.max_text_bytes} bytes in UTF-8 (--max_text_bytes)"
                f"{around}. Received: {largest} bytes at index {sizes.index(largest)}",
                quotes_no_text=True,
            )
        together = sum(sizes)
        if together > self.max_body_bytes + room * len(sizes):
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"The instances of a request may have {self.max_body_bytes} bytes together "
                f"(--max_body_bytes). Received: {together}",
                quotes_no_text=True,
            )
