import asyncio

from llama_serving.desk.amounts import Amount, Short, Shortage
from llama_serving.desk.leases import Leases, OwnBank
from llama_serving.desk.ledger import Ledger
from llama_serving.desk.wallet import Reservation, Wallet
from support.serving.desks.parts import AwayBank, Clock, limits_of, until


def leases_of(bank=None, clock=None, replica="one"):
    clock = clock or Clock()
    bank = bank or AwayBank(clock)
    return Leases(bank, replica=replica, clock=clock), bank, clock


def need(tokens=0):
    return Amount(requests=1, tokens=tokens, slots=1)


async def reserve_all(leases, limits, count, tokens=0):
    return await asyncio.gather(*(leases.reserve(limits, need(tokens)) for _ in range(count)))


async def test_fifty_at_once_against_a_limit_for_ten_pass_ten():
    for limits in (
        limits_of(tokens_per_minute=10 * 128),
        limits_of(requests_per_minute=10),
        limits_of(concurrent_requests=10),
        limits_of(tokens_per_day=10 * 128),
        limits_of(tokens_per_month=10 * 128),
    ):
        leases, _, _ = leases_of()
        got = await reserve_all(leases, limits, 50, tokens=128)
        assert sum(isinstance(one, Reservation) for one in got) == 10, limits
        assert sum(isinstance(one, Shortage) for one in got) == 40


async def test_fifty_at_once_over_three_replicas_pass_ten():
    clock = Clock()
    bank = AwayBank(clock)
    fleet = [Leases(bank, replica=f"r{number}", clock=clock) for number in range(3)]
    limits = limits_of(tokens_per_minute=10 * 128, concurrent_requests=10)
    got = await asyncio.gather(*(fleet[number % 3].reserve(limits, need(128)) for number in range(50)))
    assert sum(isinstance(one, Reservation) for one in got) == 10


async def test_a_settled_request_gives_back_what_it_did_not_use():
    leases, _, _ = leases_of()
    limits = limits_of(tokens_per_minute=1000)
    first = await leases.reserve(limits, need(1000))
    assert isinstance(await leases.reserve(limits, need(900)), Shortage)
    leases.settle("acme", first, 100)
    assert isinstance(await leases.reserve(limits, need(900)), Reservation)
    assert leases.standing(limits).tokens.remaining == 0


async def test_what_was_used_beyond_the_reservation_is_taken_afterwards():
    leases, bank, _ = leases_of()
    limits = limits_of(tokens_per_minute=1000, tokens_per_day=5000)
    first = await leases.reserve(limits, need(100))
    leases.settle("acme", first, 300)
    assert isinstance(await leases.reserve(limits, need(800)), Shortage)
    assert isinstance(await leases.reserve(limits, need(700)), Reservation)
    assert bank.ledger._accounts["acme"]._spent("2026-11-27") == 300


async def test_no_question_to_the_ledger_while_the_leases_last():
    leases, bank, clock = leases_of()
    limits = limits_of(tokens_per_minute=1_000_000, requests_per_minute=60_000, concurrent_requests=1000)
    await asyncio.gather(*(one for one in [leases.reserve(limits, need(100)) for _ in range(60)]))
    leases._talk_soon()
    await leases._talk
    asked = bank.exchanges
    for _ in range(2):
        assert isinstance(await leases.reserve(limits, need(100)), Reservation)
    assert bank.exchanges == asked
    del clock


async def test_once_a_load_has_begun_no_request_waits_for_the_ledger():
    leases, bank, clock = leases_of()
    limits = limits_of(tokens_per_minute=10_000_000, requests_per_minute=100_000, concurrent_requests=1000)
    waited = []
    for _ in range(60):
        # Sixteen clients who go on as soon as they have an answer.
        asking = [asyncio.create_task(leases.reserve(limits, need(100))) for _ in range(16)]
        await asyncio.sleep(0)
        waited.append(sum(not one.done() for one in asking))
        for reservation in await asyncio.gather(*asking):
            leases.settle("acme", reservation, 90)
        clock.move(0.1)
    assert waited[0] == 16, "nobody knows of a tenant before its first request"
    assert sum(waited[2:]) == 0, waited
    assert bank.exchanges < 30, "and it is not asked for each request"


async def test_near_the_limit_the_ledger_is_not_asked_again_and_again():
    leases, bank, clock = leases_of()
    limits = limits_of(requests_per_minute=300)
    for _ in range(200):
        assert isinstance(await leases.reserve(limits, need()), Reservation)
        clock.move(0.001)
    # It lends little ahead of what is nearly used up, so the leases are low all the time.
    await until(lambda: leases._talk is None or leases._talk.done())
    assert bank.exchanges < 30


async def test_all_that_wait_share_one_question():
    leases, bank, _ = leases_of()
    await reserve_all(leases, limits_of(tokens_per_minute=100_000), 50, tokens=128)
    assert bank.exchanges == 1


async def test_a_flood_of_refused_requests_is_no_flood_of_questions():
    leases, bank, clock = leases_of()
    limits = limits_of(requests_per_minute=1)
    await leases.reserve(limits, need())
    await leases.reserve(limits, need())
    asked = bank.exchanges
    for _ in range(100):
        assert (await leases.reserve(limits, need())).short is Short.REQUESTS
    assert bank.exchanges == asked
    clock.move(61)
    assert isinstance(await leases.reserve(limits, need()), Reservation)


async def test_without_limits_the_ledger_hears_nothing():
    leases, bank, _ = leases_of()
    assert await leases.reserve(limits_of(), need(10**9)) is None
    assert bank.exchanges == 0


async def test_without_the_ledger_a_replica_keeps_to_its_share():
    clock = Clock()
    bank = AwayBank(clock)
    leases, _, _ = leases_of(bank, clock)
    limits = limits_of(requests_per_minute=10)
    for number in range(2):
        await bank.exchange(f"other-{number}", {})
    leases._talk_soon()
    await leases._talk
    bank.is_away = True
    got = [await leases.reserve(limits, need()) for _ in range(10)]
    assert sum(isinstance(one, Reservation) for one in got) == 10 // 3
    assert leases.is_ledger_away


async def test_without_the_ledger_the_last_lease_is_served_and_then_a_budget_is_refused():
    leases, bank, _ = leases_of()
    limits = limits_of(tokens_per_day=100_000)
    first = await leases.reserve(limits, need(1000))
    leases.settle("acme", first, 100)
    bank.is_away = True
    assert isinstance(await leases.reserve(limits, need(900)), Reservation)
    refused = await leases.reserve(limits, need(5000))
    assert refused.short is Short.LEDGER


async def test_while_the_ledger_is_away_nobody_waits_for_it():
    leases, bank, clock = leases_of()
    bank.is_away = True
    limits = limits_of(requests_per_minute=1000)
    for _ in range(20):
        await leases.reserve(limits, need())
    assert bank.exchanges == 1
    clock.move(3)
    await leases.reserve(limits, need())
    assert bank.exchanges == 2


async def test_what_was_served_without_the_ledger_is_told_when_it_is_back():
    leases, bank, clock = leases_of()
    bank.is_away = True
    limits = limits_of(tokens_per_minute=10_000, requests_per_minute=100)
    reservation = await leases.reserve(limits, need(3000))
    leases.settle("acme", reservation, 1000)
    clock.move(3)
    leases._talk_soon()
    await leases._talk  # does not arrive either
    bank.is_away = False
    clock.move(3)
    leases._talk_soon()
    await leases._talk
    standing = leases.standing(limits)
    assert (standing.requests.remaining, standing.tokens.remaining) == (99, 9000)


async def test_a_client_that_leaves_while_it_waits_leaves_its_lease_to_others():
    class Slow(OwnBank):
        def __init__(self, clock):
            super().__init__(clock)
            self.gate = asyncio.Event()

        async def exchange(self, replica, statements):
            answer = await super().exchange(replica, statements)
            await self.gate.wait()
            return answer

    clock = Clock()
    bank = Slow(clock)
    leases, _, _ = leases_of(bank, clock)
    limits = limits_of(tokens_per_minute=1000)
    leaving = asyncio.create_task(leases.reserve(limits, need(1000)))
    for _ in range(5):
        await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    bank.gate.set()
    assert isinstance(await leases.reserve(limits, need(1000)), Reservation)


async def test_at_the_end_everything_goes_back():
    clock = Clock()
    bank = AwayBank(clock)
    leases, _, _ = leases_of(bank, clock)
    limits = limits_of(tokens_per_minute=1000, concurrent_requests=2)
    leases.settle("acme", await leases.reserve(limits, need(600)), 0)
    await leases.close()
    other, _, _ = leases_of(bank, clock, "two")
    assert isinstance(await other.reserve(limits, need(1000)), Reservation)
    assert bank.ledger._heard.keys() == {"two"}


async def test_new_limits_hold_for_the_next_request():
    leases, _, clock = leases_of()
    await leases.reserve(limits_of(requests_per_minute=100), need())
    assert isinstance(await leases.reserve(limits_of(requests_per_minute=1), need()), Shortage)
    clock.move(61)
    assert isinstance(await leases.reserve(limits_of(requests_per_minute=1), need()), Reservation)
    assert await leases.reserve(limits_of(), need()) is None


async def test_new_limits_reach_the_ledger_also_by_a_replica_that_is_asked_for_nothing():
    leases, bank, clock = leases_of()
    other, _, _ = leases_of(bank, clock, "two")
    before, now = limits_of(tokens_per_month=10**6), limits_of(tokens_per_month=100)
    for one in (leases, other):
        one.settle("acme", await one.reserve(before, need(50)), 50)
        one.reconfigure(lambda _tenant: now)
        one._tells_all = True
        await one._talk_until_quiet()
    assert bank.ledger._accounts["acme"]._limits == now


async def test_in_steady_use_the_ledger_is_asked_rarely():
    leases, bank, clock = leases_of()
    limits = limits_of(
        tokens_per_minute=10**8, requests_per_minute=10**5, concurrent_requests=500, tokens_per_day=10**10
    )
    for number in range(4000):
        reservation = await leases.reserve(limits, need(500))
        leases.settle("acme", reservation, 100)
        clock.move(0.02)
        if number == 3000:
            before = bank.exchanges
    assert bank.exchanges - before <= 20  # in 20 seconds
    assert leases.standing(limits).budget_left == 10**10 - 4000 * 100


class SlowBank(AwayBank):
    """A ledger that takes its time."""

    def __init__(self, clock):
        super().__init__(clock)
        self.may_answer = asyncio.Event()

    async def exchange(self, replica, statements):
        await self.may_answer.wait()
        return await super().exchange(replica, statements)


async def test_a_ledger_that_is_slow_is_not_away():
    clock = Clock()
    bank = SlowBank(clock)
    leases = Leases(bank, replica="one", clock=clock, patient_seconds=3600, probe_seconds=0.001)
    limits = limits_of(tokens_per_day=1000)
    asked = asyncio.create_task(leases.reserve(limits, need(100)))
    await asyncio.sleep(0.05)
    bank.may_answer.set()
    assert isinstance(await asked, Reservation)


async def test_nobody_waits_long_again_for_a_ledger_that_was_away():
    clock = Clock()
    bank = SlowBank(clock)
    leases = Leases(bank, replica="one", clock=clock, patient_seconds=3600, probe_seconds=0.001)
    limits = limits_of(tokens_per_day=1000)
    bank.may_answer.set()
    bank.is_away = True
    assert not isinstance(await leases.reserve(limits, need(100)), Reservation)
    bank.is_away = False
    bank.may_answer.clear()
    clock.move(60)
    assert not isinstance(await leases.reserve(limits, need(100)), Reservation)
    assert leases.is_ledger_away


async def test_an_idle_replica_tells_a_new_ledger_what_it_spent(monkeypatch):
    monkeypatch.setattr("llama_serving.desk.leases.ROUND_SECONDS", 0)
    leases, bank, clock = leases_of()
    limits = limits_of(tokens_per_day=1000)
    leases.settle("acme", await leases.reserve(limits, need(600)), 600)
    running = asyncio.create_task(leases.run())
    clock.move(600)
    await until(lambda: not leases._wallets["acme"].has_news(clock()))
    bank.ledger = Ledger()
    await until(lambda: "acme" in bank.ledger._accounts)
    other, _, _ = leases_of(bank, clock, "two")
    assert (await other.reserve(limits, need(401))).short is Short.DAY
    assert isinstance(await other.reserve(limits, need(400)), Reservation)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_after_the_ledger_was_away_it_hears_of_everything():
    leases, bank, clock = leases_of()
    limits = limits_of(tokens_per_day=1000)
    leases.settle("acme", await leases.reserve(limits, need(600)), 600)
    for away in (False, True, False):
        clock.move(200)
        if away:
            bank.is_away, bank.ledger = True, Ledger()
        else:
            bank.is_away = False
        leases._talk_soon()
        await leases._talk
    assert bank.ledger._accounts["acme"]._spent("2026-11-27") == 600


async def test_a_client_that_leaves_in_the_moment_of_its_answer_leaves_its_lease_to_others(monkeypatch):
    leases, _, _ = leases_of()
    limits = limits_of(tokens_per_minute=1000)
    first, second = (asyncio.create_task(leases.reserve(limits, need(500))) for _ in range(2))
    await asyncio.sleep(0)
    put = Wallet.put

    def leaves(self, lease, now):
        # The first one has its answer, and has not heard of it yet.
        first.cancel()
        put(self, lease, now)

    monkeypatch.setattr(Wallet, "put", leaves)
    waiting = list(leases._waiting)
    second.cancel()
    await asyncio.sleep(0)
    leases._waiting = waiting
    await asyncio.gather(first, second, return_exceptions=True)
    assert isinstance(await leases.reserve(limits, need(1000)), Reservation)
    assert first.cancelled()
