import os
import socket
from contextlib import suppress
from dataclasses import astuple

import pytest

from llama_operator.local.errors import PortTakenError
from llama_operator.local.ports import LOOPBACK, block_ports, reserve

# Other processes on this machine (other tests, a demo) take blocks too, with lock folders of their own: each process
# begins at a block of its own, so that they do not meet.
OWN_BLOCK = os.getpid() * 13 % 97


def first(count):
    return OWN_BLOCK % count


def a_free_port():
    """A port that the kernel gives to nobody by itself: below its ephemeral range."""
    for port in range(10_000 + os.getpid() % 5_000, 20_000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port
    raise AssertionError("no free port between 10000 and 20000")


@pytest.fixture
def listener():
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind((LOOPBACK, 0))
        server.listen()
        yield server.getsockname()[1]


def test_two_reservations_share_no_port(tmp_path):
    with reserve(tmp_path, http=None, pick=first) as one, reserve(tmp_path, http=None, pick=first) as two:
        assert not set(astuple(one.ports)) & set(astuple(two.ports))


def test_a_reservation_that_was_closed_can_be_had_again(tmp_path):
    with reserve(tmp_path, http=None, pick=first) as one:
        pass
    with reserve(tmp_path, http=None, pick=first) as two:
        assert one.ports == two.ports


def test_blocks_lie_below_the_ephemeral_ports_and_apart():
    ports = [port for index in range(100) for port in astuple(block_ports(index))]
    assert max(ports) < 32768
    assert min(ports) > 19999
    assert len(set(ports)) == len(ports)


def test_a_port_that_a_serve_proxy_shares_counts_as_taken(tmp_path, listener):
    with pytest.raises(PortTakenError, match=rf"port {listener} .* choose another port"):
        reserve(tmp_path, http=listener, pick=first)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may take every port")
def test_a_port_that_is_not_for_this_user_is_not_said_to_be_in_use(tmp_path):
    with pytest.raises(PortTakenError, match=r"by root only .* above 1023"):
        reserve(tmp_path, http=1, pick=first)


def test_the_wanted_http_port_is_held_against_others_but_serve_can_join(tmp_path):
    wanted = a_free_port()
    with reserve(tmp_path, http=wanted, pick=first) as reservation:
        assert reservation.ports.http == wanted
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((LOOPBACK, wanted))
        with socket.socket() as proxy:
            proxy.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            proxy.bind((LOOPBACK, wanted))
            proxy.listen()
            with socket.create_connection((LOOPBACK, wanted), timeout=5):
                pass
        with pytest.raises(PortTakenError):
            reserve(tmp_path, http=wanted, pick=first)


def test_a_block_with_a_foreign_listener_is_passed_over(tmp_path):
    with socket.socket() as server:
        server.bind((LOOPBACK, block_ports(OWN_BLOCK).worker_max))
        server.listen()
        with reserve(tmp_path, http=None, pick=first) as reservation:
            assert reservation.ports.gcs != block_ports(OWN_BLOCK).gcs
