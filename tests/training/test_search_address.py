"""Where a chief listens, and who may not."""

from __future__ import annotations

import socket
import threading
import time

import grpc
import pytest

from tests.training.shared_search import Shared, by_dropout
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.training.search_address import Address

# Several threads at once leave and enter the place where these are kept back.
pytestmark = pytest.mark.filterwarnings("ignore:(currentThread|getName)")


def test_two_chiefs_do_not_share_a_port(tmp_path):
    shared = Shared(tmp_path)
    with socket.socket() as other:
        other.bind((shared.address.host, shared.address.port))
        other.listen()
        with pytest.raises(ConfigError, match=f"cannot listen at --oracle.*{shared.address}"):
            shared.chief().lead(shared.address)
        with pytest.raises(ConfigError, match="another process listens there.*free port"):
            shared.address.check_free()
    shared.address.check_free()


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:9000", "127.0.0.1", 9000), ("[::1]:1", "::1", 1), ("node-7:80", "node-7", 80)],
)
def test_an_address_is_a_host_and_a_port(text, host, port):
    assert Address.parse(text) == Address(host, port)
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize("text", ["", "9000", ":9000", "host", "host:", "host:0", "host:65536",
                                  "::1:9000", "host:9000:1", "ho st:9000"])  # fmt: skip
def test_any_other_address_is_refused(text):
    with pytest.raises(ConfigError, match="oracle must be HOST:PORT") as refused:
        Address.parse(text)
    assert str(refused.value).endswith(f"Received: {text!r}")


def test_a_host_that_nobody_knows_is_an_error():
    with pytest.raises(ConfigError, match="host of --oracle is unknown.*no.such.host:9000"):
        Address.parse("no.such.host:9000").check_known()
    with pytest.raises(ConfigError, match="cannot listen at --oracle: the host is not this mach"):
        Address.parse("192.0.2.1:9000").check_free()
    Address.parse("localhost:9000").check_known()


def test_only_the_given_host_is_listened_at(tmp_path):
    shared = Shared(tmp_path, trials=1)
    chief = shared.chief()
    other = Address("127.0.0.2", shared.address.port)
    with shared.at_work("one", trial=lambda drawn: (time.sleep(1), by_dropout(drawn))[1]):
        thread = threading.Thread(target=chief.lead, args=(shared.address,), daemon=True)
        thread.start()
        time.sleep(0.7)
        with grpc.insecure_channel(str(other)) as channel:
            ready = grpc.channel_ready_future(channel)
            with pytest.raises(grpc.FutureTimeoutError):
                ready.result(timeout=0.3)
            ready.cancel()
        thread.join(20)
