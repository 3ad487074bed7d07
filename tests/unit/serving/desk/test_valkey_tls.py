"""The ledger in a real server behind TLS: whom a replica believes, and that nobody else gets its password.

The server of the wheel is built without TLS, so a relay speaks it in front.
"""

import datetime as dt
import time

import pytest

from control_plane.identities import Authority
from llama_serving.contract.tenants import StoreSettings
from llama_serving.desk.leases import LedgerAwayError
from llama_serving.desk.shared.valkey_bank import ValkeyBank
from support.serving.desks.parts import Clock
from support.serving.desks.tls_relay import Relay
from support.valkey_server import PASSWORD, server

PATIENCE = 60.0


@pytest.fixture(scope="module")
def behind(tmp_path_factory):
    with server(tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture(scope="module")
def authorities(tmp_path_factory):
    now = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)
    return [Authority(tmp_path_factory.mktemp("authority"), now) for _ in range(2)]


@pytest.fixture
async def relay(behind, authorities):
    made = Relay(behind.port, authorities[0].server())
    async with made.running() as port:
        made.port = port
        yield made


@pytest.fixture
def secret(tmp_path, authorities):
    """The mounted Secret."""
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "ca.crt").write_bytes(authorities[0].pair.certificate.read_bytes())
    return tmp_path


@pytest.fixture
async def bank(relay, secret):
    made = []

    def make(host="127.0.0.1", *, tls=True):
        settings = StoreSettings(address=f"{host}:{relay.port}", scope="team", tls=tls, folder=str(secret))
        made.append(ValkeyBank(settings, clock=Clock(), learning_seconds=0))
        return made[-1]

    yield make
    for one in made:
        await one.leave("nobody")


async def said(bank, words=""):
    """What the ledger answers, or its last words; asked again where a busy machine was too slow for an answer."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            answer = await bank.exchange("chat/1", {})
        except LedgerAwayError as error:
            answer = str(error)
        refused = isinstance(answer, str)
        if (refused == bool(words) and words in str(answer)) or time.monotonic() > until:
            return answer


async def test_a_server_whose_authority_is_in_the_secret_keeps_the_ledger(relay, bank):
    assert (await said(bank())).replicas == 1
    assert PASSWORD.encode() in relay.received


@pytest.mark.parametrize("case", ["another authority", "another name", "no authority"])
async def test_nobody_else_gets_the_password(relay, bank, secret, authorities, case):
    if case == "another authority":
        relay.show(authorities[1].server())
    if case == "no authority":
        # Then those of the system count.
        (secret / "ca.crt").unlink()
    # The same address, written in a way for which no certificate was made.
    host = "127.1" if case == "another name" else "127.0.0.1"
    told = await said(bank(host), "certificate")
    assert isinstance(told, str)
    assert "certificate" in told.lower()
    assert relay.received == b""


async def test_a_client_that_speaks_no_tls_gets_no_answer(relay, bank):
    assert isinstance(await said(bank(tls=False), ":"), str)
    assert relay.received == b""


async def test_an_authority_that_changes_counts_for_the_next_connection(relay, bank, secret, authorities):
    ledger = bank()
    assert (await said(ledger)).replicas == 1
    (secret / "ca.crt").write_bytes(authorities[1].pair.certificate.read_bytes())
    relay.show(authorities[1].server())
    assert (await said(ledger)).replicas == 1
