"""The ledger in a real server: replicas share a limit over it, and what they do while it is away."""

import asyncio

import pytest

from llama_serving.contract.tenants import StoreSettings
from llama_serving.desk.amounts import Amount, Short, Shortage
from llama_serving.desk.leases import Leases, LedgerAwayError
from llama_serving.desk.shared.valkey_bank import ValkeyBank
from support.serving.desks.parts import Clock, limits_of
from support.valkey_server import PASSWORD, server

NEED = Amount(requests=1, tokens=100, slots=1)
REQUESTS = limits_of("rate", requests_per_minute=10)
BUDGET = limits_of("budget", tokens_per_day=1000)


@pytest.fixture
def running(tmp_path):
    with server(tmp_path) as started:
        yield started


@pytest.fixture
def secret(tmp_path):
    """The mounted Secret."""
    folder = tmp_path / "secret"
    folder.mkdir()
    (folder / "password").write_text(PASSWORD + "\n")
    return folder


@pytest.fixture
async def bank_of(secret):
    made = []

    def make(started, scope="team", **settings):
        told = {"address": started.address, "scope": scope, "folder": str(secret)} | settings
        made.append(ValkeyBank(StoreSettings(**told), clock=Clock(), learning_seconds=0))
        return made[-1]

    yield make
    for one in made:
        await one.leave("nobody")


async def test_replicas_of_two_deployments_share_one_limit(running, bank_of):
    fleet = [Leases(bank_of(running), replica=name, clock=Clock()) for name in ("chat/1", "chat/2", "code/1")]
    got = await asyncio.gather(*(fleet[number % 3].reserve(REQUESTS, NEED) for number in range(60)))
    assert sum(not isinstance(one, Shortage) for one in got) == 10
    # Another namespace on the same server has a tenant of that name, too.
    other = Leases(bank_of(running, scope="team-b"), replica="chat/1", clock=Clock())
    assert not isinstance(await other.reserve(REQUESTS, NEED), Shortage)
    for one in (*fleet, other):
        await one.close()


async def test_what_a_replica_gives_back_at_its_end_is_there_for_the_next(running, bank_of):
    limits = limits_of("at-once", concurrent_requests=1)
    first, second = (Leases(bank_of(running), replica=name, clock=Clock()) for name in ("1", "2"))
    assert not isinstance(await first.reserve(limits, NEED), Shortage)
    assert (await second.reserve(limits, NEED)).short is Short.CONCURRENT
    await first.close()
    third = Leases(bank_of(running), replica="3", clock=Clock())
    assert not isinstance(await third.reserve(limits, NEED), Shortage)
    await second.close()
    await third.close()


async def test_while_the_server_is_away_rates_go_on_within_the_share_and_budgets_are_refused(running, bank_of, caplog):
    clock = Clock()
    leases = Leases(bank_of(running), replica="1", clock=clock)
    assert not isinstance(await leases.reserve(REQUESTS, NEED), Shortage)
    leases.settle("budget", await leases.reserve(BUDGET, NEED), 100)
    running.stop()

    got = [await leases.reserve(REQUESTS, NEED) for _ in range(20)]
    assert 1 <= sum(not isinstance(one, Shortage) for one in got) <= 10
    refused = [await leases.reserve(BUDGET, NEED) for _ in range(3)][-1]
    assert refused.short is Short.LEDGER
    assert f"does not answer ({running.address}: " in caplog.text
    assert PASSWORD not in caplog.text

    running.start()
    clock.move(3)
    assert not isinstance(await leases.reserve(BUDGET, NEED), Shortage)
    # It came back empty, and the replica has told it what it spent.
    left = await leases.reserve(BUDGET, Amount(requests=1, tokens=900))
    assert left.short is Short.DAY
    await leases.close()


async def test_a_flood_while_the_server_is_away_gets_no_more_than_the_limit(running, bank_of):
    limits = limits_of("flooded", requests_per_minute=3)
    leases = Leases(bank_of(running), replica="1", clock=Clock())
    running.stop()
    got = await asyncio.gather(*(leases.reserve(limits, NEED) for _ in range(100)))
    assert sum(not isinstance(one, Shortage) for one in got) == 3
    running.start()
    await leases.close()


@pytest.mark.parametrize(("password", "words"), [("wrong", "WRONGPASS"), (None, "NOAUTH")])
async def test_credentials_that_are_not_right_are_told_and_nothing_of_them(running, bank_of, secret, password, words):
    if password is None:
        (secret / "password").unlink()
    else:
        (secret / "password").write_text(password)
    with pytest.raises(LedgerAwayError) as told:
        await bank_of(running).exchange("1", {})
    assert running.address in str(told.value)
    assert (
        words in str(told.value) or "invalid username-password" in str(told.value) or "uthentication" in str(told.value)
    )
    assert "wrong" not in str(told.value)


async def test_new_credentials_count_for_the_next_connection(running, bank_of, secret):
    (secret / "password").write_text("wrong")
    bank = bank_of(running)
    with pytest.raises(LedgerAwayError):
        await bank.exchange("1", {})
    (secret / "password").write_text(PASSWORD)
    assert (await bank.exchange("1", {})).replicas == 1
    await bank.leave("1")
    await bank.leave("1")


async def test_a_server_that_accepts_and_says_nothing_is_away_within_a_second(bank_of):
    ended = asyncio.Event()

    async def silent(reader, writer):
        await reader.read()
        writer.close()
        await writer.wait_closed()
        ended.set()

    listening = await asyncio.start_server(silent, "127.0.0.1", 0)
    address = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    bank = ValkeyBank(StoreSettings(address=address, scope="team"), clock=Clock())
    leases = Leases(bank, replica="1", clock=Clock())
    assert (await leases.reserve(BUDGET, NEED)).short is Short.LEDGER
    await leases.close()
    await ended.wait()
    listening.close()
    await listening.wait_closed()
