from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_serving.desk.amounts import Amount, Lease, Moment, Short, Shortage, Statement
from llama_serving.desk.ledger import SILENT_SECONDS, Ledger
from llama_serving.desk.shared.messages import message_of
from llama_serving.desk.wallet import Wallet
from support.serving.desks.parts import Clock, limits_of
from support.valkey_server import Both, StoreLedger, server

LIMIT = 1000


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A client of a real Valkey."""
    with server(tmp_path_factory.mktemp("valkey")) as running:
        yield running.client


@pytest.fixture(params=["in memory", "in a store"])
def make_ledger(request):
    """Makes a ledger, of each of the two kinds: both pass all tests of one."""
    if request.param == "in memory":
        return Ledger
    client = request.getfixturevalue("store")
    return lambda: StoreLedger(client)


def say(ledger, clock, limits, replica="one", **statement):
    return ledger.exchange(replica, {limits.name: Statement(limits=limits, **statement)}, clock()).replies[limits.name]


def need(tokens=0, *, requests=1, slots=0):
    return Amount(requests=requests, tokens=tokens, slots=slots)


@pytest.mark.parametrize(
    ("limits", "needs", "short"),
    [
        ({"requests_per_minute": 2}, [need()] * 3, Short.REQUESTS),
        ({"tokens_per_minute": 100}, [need(50)] * 3, Short.TOKENS),
        ({"concurrent_requests": 2}, [need(slots=1)] * 3, Short.CONCURRENT),
        ({"tokens_per_day": 100}, [need(50)] * 3, Short.DAY),
        ({"tokens_per_month": 100}, [need(50)] * 3, Short.MONTH),
    ],
)
def test_each_limit_holds_for_all_replicas_together(limits, needs, short, make_ledger):
    ledger, clock, limits = make_ledger(), Clock(), limits_of(**limits)
    got = []
    for number, one in enumerate(needs):
        got += say(ledger, clock, limits, f"replica-{number}", needs=(one,)).needs
    assert [type(one) for one in got] == [Lease, Lease, Shortage]
    assert got[2].short is short


def test_without_limits_nothing_is_refused(make_ledger):
    assert isinstance(say(make_ledger(), Clock(), limits_of(), needs=(need(10**12, slots=10**6),)).needs[0], Lease)


@pytest.mark.parametrize(
    ("limit", "short"), [("requests_per_minute", Short.REQUESTS), ("tokens_per_minute", Short.TOKENS)]
)
def test_a_replica_that_has_not_the_limit_empties_no_window(limit, short, make_ledger):
    ledger, clock = make_ledger(), Clock()
    limits, others = limits_of(**{limit: 1}), limits_of(tokens_per_month=LIMIT)
    assert isinstance(say(ledger, clock, limits, needs=(need(1),)).needs[0], Lease)
    said = say(ledger, clock, others, "two", needs=(need(1),))
    assert isinstance(said.needs[0], Lease)
    assert (said.standing.requests, said.standing.tokens) == (None, None)
    assert say(ledger, clock, limits, needs=(need(1),)).needs[0].short is short


def test_what_a_replica_spent_is_known_to_a_ledger_that_starts_empty(make_ledger):
    clock, limits = Clock(), limits_of(tokens_per_day=100)
    spent = {clock().day: 90, clock().month: 90}
    assert say(make_ledger(), clock, limits, spent=spent, needs=(need(11),)).needs[0].short is Short.DAY
    assert isinstance(say(make_ledger(), clock, limits, spent=spent, needs=(need(10),)).needs[0], Lease)


def test_a_statement_that_comes_twice_counts_once(make_ledger):
    ledger, clock, limits = make_ledger(), Clock(), limits_of(tokens_per_day=100)
    spent = {clock().day: 60, clock().month: 60}
    for _ in range(3):
        say(ledger, clock, limits, spent=spent)
    assert say(ledger, clock, limits, spent=spent).standing.budget_left == 40


@pytest.mark.parametrize(
    ("budget", "utc", "until"),
    [
        ("tokens_per_day", datetime(2026, 11, 27, 23, 59, tzinfo=UTC), datetime(2026, 11, 28, tzinfo=UTC)),
        ("tokens_per_month", datetime(2026, 11, 30, 23, 59, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
        ("tokens_per_month", datetime(2026, 12, 31, 23, 59, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        ("tokens_per_month", datetime(2028, 2, 29, 23, 59, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)),
    ],
)
def test_a_budget_starts_again_at_midnight_of_utc(budget, utc, until, make_ledger):
    ledger, clock, limits = make_ledger(), Clock(utc), limits_of(**{budget: 100})
    spent = {clock().day: 100, clock().month: 100}
    refused = say(ledger, clock, limits, spent=spent, needs=(need(1),)).needs[0]
    assert refused.until == until
    assert refused.seconds == 60.0
    clock.move(61)
    assert isinstance(say(ledger, clock, limits, spent=spent, needs=(need(100),)).needs[0], Lease)


def test_what_running_requests_hold_of_a_budget_is_no_end_of_it(make_ledger):
    ledger, clock, limits = make_ledger(), Clock(), limits_of(tokens_per_day=100)
    say(ledger, clock, limits, needs=(need(80),))
    refused = say(ledger, clock, limits, "two", needs=(need(30),)).needs[0]
    assert (refused.short, refused.until) == (Short.DAY, None)
    # Of the 80 only 20 were used.
    say(ledger, clock, limits, spent={clock().day: 20, clock().month: 20})
    assert isinstance(say(ledger, clock, limits, "two", needs=(need(30),)).needs[0], Lease)


def test_a_replica_that_is_gone_frees_its_places_and_keeps_its_tokens_spent(make_ledger):
    ledger, clock, limits = make_ledger(), Clock(), limits_of(concurrent_requests=1, tokens_per_day=100)
    say(ledger, clock, limits, needs=(need(60, slots=1),))
    clock.move(SILENT_SECONDS + 1)
    reply = say(ledger, clock, limits, "two", needs=(need(40, slots=1),))
    assert isinstance(reply.needs[0], Lease)
    assert reply.standing.budget_left == 0


def test_a_replica_that_was_only_silent_gets_its_tokens_back(make_ledger):
    ledger, clock, limits = make_ledger(), Clock(), limits_of(tokens_per_day=100)
    say(ledger, clock, limits, needs=(need(60),))
    clock.move(SILENT_SECONDS + 1)
    say(ledger, clock, limits, "two")
    assert say(ledger, clock, limits, spent={clock().day: 10, clock().month: 10}).standing.budget_left == 90


def test_slices_are_small_and_smaller_near_the_limit(make_ledger):
    ledger, clock, limits = make_ledger(), Clock(), limits_of(tokens_per_minute=LIMIT, requests_per_minute=100)
    wish = Amount(requests=100, tokens=LIMIT)
    assert say(ledger, clock, limits, ahead=wish).ahead.amount == Amount(requests=5, tokens=50)
    say(ledger, clock, limits, "two", needs=(need(LIMIT - 100, requests=90),))
    assert say(ledger, clock, limits, "two", ahead=wish).ahead.amount == Amount(requests=0, tokens=6)


def test_accounts_that_say_nothing_are_dropped():
    ledger, clock = Ledger(), Clock()
    for number in range(50):
        say(ledger, clock, limits_of(f"t-{number}", requests_per_minute=5), needs=(need(),))
    assert len(ledger._accounts) == 50
    clock.move(120)
    say(ledger, clock, limits_of("t-0", requests_per_minute=5))
    assert ledger._accounts.keys() == {"t-0"}


class Fleet:
    """Replicas with wallets of one tenant, and what they admitted. Each step is one of those that replicas take."""

    def __init__(self, replicas, *, ledger=None, **limits):
        self.clock, self.ledger, self.limits = Clock(), ledger or Ledger(), limits_of(**limits)
        self.wallets = [Wallet(self.limits) for _ in range(replicas)]
        self.running, self.admitted, self.granted = [[] for _ in self.wallets], [], []

    def talk(self, number, *needs):
        wallet, now = self.wallets[number], self.clock()
        statement = wallet.statement(tuple(wallet.counted(need) for need in needs), now)
        reply = self.ledger.exchange(f"r{number}", {self.limits.name: statement}, now).replies[self.limits.name]
        wallet.take(reply, now)
        return reply.needs

    def ask(self, number, tokens):
        wallet, now = self.wallets[number], self.clock()
        reservation = wallet.reserve(need(tokens, slots=1), now)
        if reservation is None:
            (got,) = self.talk(number, need(tokens, slots=1))
            if isinstance(got, Shortage):
                return got
            reservation = wallet.reserve_from(got, now)
        self.running[number].append(reservation)
        self.admitted.append([now.seconds, tokens, reservation])
        return reservation

    def end(self, number, used):
        if self.running[number]:
            reservation = self.running[number].pop(0)
            used = min(used, reservation.tokens)
            self.wallets[number].settle(reservation, used, self.clock())
            next(entry for entry in self.admitted if entry[2] is reservation)[1] = used

    def used_in_the_last_minute(self):
        now = self.clock().seconds
        return sum(tokens for at, tokens, _ in self.admitted if now - at < 60)

    def outstanding(self):
        return sum(wallet.statement((), self.clock()).held.tokens for wallet in self.wallets)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "end", "talk", "wait"]),
        st.integers(0, 2),
        st.integers(1, 400),
        st.floats(0, 30),
    ),
    max_size=60,
)


@given(STEPS)
def test_never_more_is_admitted_than_the_limit_and_what_was_booked_before(steps):
    fleet = Fleet(3, tokens_per_minute=LIMIT)
    booked = []  # (when, tokens that replicas held at that moment)
    for step, number, tokens, pause in steps:
        now = fleet.clock().seconds
        booked.append((now, sum(fleet.wallets[n]._reserved + _free(fleet.wallets[n]) for n in range(3))))
        if step == "ask":
            fleet.ask(number, tokens)
        elif step == "end":
            fleet.end(number, tokens)
        elif step == "talk":
            fleet.talk(number)
        else:
            fleet.clock.move(pause)
        now = fleet.clock().seconds
        before = [held for at, held in booked if now - at >= 60]
        assert fleet.used_in_the_last_minute() <= LIMIT + (before[-1] if before else 0)


def _free(wallet):
    return sum(lot.amount for lot in wallet._tokens)


@given(STEPS)
def test_a_budget_is_never_exceeded_by_what_was_reserved(steps):
    fleet = Fleet(3, tokens_per_day=LIMIT)
    for step, number, tokens, _ in steps:
        if step == "ask":
            fleet.ask(number, tokens)
        elif step == "end":
            fleet.end(number, tokens)
        elif step == "talk":
            fleet.talk(number)
        assert sum(tokens for _, tokens, _ in fleet.admitted) <= LIMIT


@given(STEPS)
def test_there_are_never_more_at_once_than_allowed(steps):
    fleet = Fleet(3, concurrent_requests=5)
    for step, number, tokens, pause in steps:
        if step == "ask":
            fleet.ask(number, tokens)
        elif step == "end":
            fleet.end(number, tokens)
        elif step == "talk":
            fleet.talk(number)
        else:
            fleet.clock.move(min(pause, 5))
            for one in range(3):
                fleet.talk(one)
        assert sum(len(running) for running in fleet.running) <= 5


@given(STEPS)
def test_when_all_requests_have_ended_all_is_there_again(steps):
    fleet = Fleet(3, tokens_per_minute=LIMIT, tokens_per_day=10 * LIMIT, concurrent_requests=5)
    for step, number, tokens, pause in steps:
        if step == "ask":
            fleet.ask(number, tokens)
        elif step == "end":
            fleet.end(number, tokens)
        else:
            fleet.clock.move(pause)
    for number, running in enumerate(fleet.running):
        for _ in list(running):
            fleet.end(number, 0)
    fleet.clock.move(61)
    for number in range(3):
        fleet.talk(number)
    fleet.clock.move(61)
    for number in range(3):
        fleet.talk(number)
    spent = sum(used for _, used, _ in fleet.admitted)
    now = Moment(fleet.clock().seconds, fleet.clock().utc)
    reply = fleet.ledger.exchange(
        "r9", {"acme": Statement(limits=fleet.limits, needs=(need(LIMIT, slots=5),))}, now
    ).replies["acme"]
    assert isinstance(reply.needs[0], Lease)
    assert reply.standing.budget_left == 10 * LIMIT - spent - LIMIT


def test_a_new_ledger_lends_nothing_of_a_budget_before_it_knows_what_was_spent():
    clock = Clock()
    ledger = Ledger(learns_until=clock().seconds + 6)
    limits = limits_of(tokens_per_day=100)
    refused = say(ledger, clock, limits, needs=(need(10),)).needs[0]
    assert (refused.short, refused.seconds) == (Short.LEDGER, 6)
    rate = limits_of("rate", tokens_per_minute=100)
    assert isinstance(say(ledger, clock, rate, needs=(need(10),)).needs[0], Lease)
    clock.move(6)
    assert isinstance(say(ledger, clock, limits, needs=(need(10),)).needs[0], Lease)


def test_a_replica_that_leaves_frees_what_its_last_requests_held(make_ledger):
    ledger, clock, limits = make_ledger(), Clock(), limits_of(concurrent_requests=1)
    say(ledger, clock, limits, needs=(need(slots=1),))
    ledger.leave("one", clock())
    assert isinstance(say(ledger, clock, limits, "two", needs=(need(slots=1),)).needs[0], Lease)


def test_a_lease_that_the_ledger_has_forgotten_cannot_be_used():
    fleet = Fleet(1, tokens_per_minute=1000)
    (wallet,), clock = fleet.wallets, fleet.clock
    wallet.put(Lease(need(50), tokens_bucket=2000), clock())
    clock.move(61)
    assert wallet.reserve(need(50), clock()) is None


def test_what_a_long_request_did_not_use_is_no_lease_after_its_minute():
    fleet = Fleet(1, tokens_per_minute=1000)
    fleet.ask(0, 800)
    fleet.clock.move(61)
    fleet.end(0, 100)
    assert fleet.wallets[0].reserve(need(1), fleet.clock()) is None
    assert fleet.outstanding() == 0


LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "requests_per_minute": st.integers(1, 60),
        "tokens_per_minute": st.integers(1, 3000),
        "concurrent_requests": st.integers(1, 60),
        "tokens_per_day": st.integers(1, 3000),
        "tokens_per_month": st.integers(1, 3000),
    },
)


@given(STEPS, LIMITS)
def test_the_ledger_in_a_store_answers_as_the_one_in_memory(store, steps, limits):
    fleet = Fleet(3, ledger=Both(Ledger(), StoreLedger(store)), **limits)
    for step, number, tokens, pause in steps:
        if step == "ask":
            fleet.ask(number, tokens)
        elif step == "end":
            fleet.end(number, tokens)
        elif step == "talk":
            fleet.talk(number)
        else:
            fleet.clock.move(pause)


def test_numbers_are_as_exact_in_a_store():
    """Nothing that a budget can be is rounded on the way."""
    most = 1_000_000_000_000_000 - 1
    moment, limits = Clock()(), limits_of(tokens_per_day=most)
    message = message_of("one", [Statement(limits=limits)], moment, learning_seconds=0)
    assert msgspec.msgpack.decode(message)["statements"][0]["limits"]["day"] == most


def test_the_largest_budget_comes_back_from_a_store_to_the_token(store):
    most = 1_000_000_000_000_000 - 1
    clock, limits = Clock(), limits_of(tokens_per_day=most)
    assert say(StoreLedger(store), clock, limits, needs=(need(1),)).standing.budget_left == most - 1


def test_a_store_that_knows_nothing_lends_nothing_of_budgets_until_the_replicas_have_said_what_they_spent(store):
    ledger, clock, limits = StoreLedger(store, learning_seconds=6.0), Clock(), limits_of(tokens_per_day=100)
    refused = say(ledger, clock, limits, needs=(need(10),)).needs[0]
    assert (refused.short, refused.seconds) == (Short.LEDGER, 6.0)
    clock.move(6)
    assert isinstance(say(ledger, clock, limits, needs=(need(10),)).needs[0], Lease)


def test_deployments_of_one_scope_share_a_tenant_each_within_its_own_limits(store):
    ledger, clock = StoreLedger(store), Clock()
    small, large = limits_of(tokens_per_day=100), limits_of(tokens_per_day=1000)
    assert isinstance(say(ledger, clock, large, "chat/1", needs=(need(95),)).needs[0], Lease)
    assert say(ledger, clock, small, "code/1", needs=(need(10),)).needs[0].short is Short.DAY
    assert isinstance(say(ledger, clock, large, "chat/1", needs=(need(10),)).needs[0], Lease)


def test_what_nobody_uses_any_more_leaves_nothing_in_a_store(store):
    ledger, clock, limits = StoreLedger(store), Clock(), limits_of(requests_per_minute=5)
    say(ledger, clock, limits, needs=(need(),))
    clock.move(120)
    say(ledger, clock, limits)
    left = {key.decode().rpartition(":")[2] for key in store.keys(f"*{ledger.scope}*")}
    assert left == {"began", "replicas"}
    assert all(store.ttl(key) > 0 for key in store.keys(f"*{ledger.scope}*"))
