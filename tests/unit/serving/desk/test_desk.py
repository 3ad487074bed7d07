import asyncio
import json

from llama_serving.contract.tenants import DeskSettings
from llama_serving.contract.usage import Dialect, UsageEvent
from llama_serving.desk.amounts import Amount
from llama_serving.desk.counters import Counters
from llama_serving.desk.desk import Visit
from llama_serving.desk.leases import Leases
from llama_serving.desk.wish import Wish
from llama_serving.door.caller import Caller
from llama_serving.door.refusals import Refusal
from support.serving.desks.parts import MODEL, AwayBank, Clock, Counted, desk_of, limits_of, until

WISH = Wish(Dialect.CHAT, MODEL, stream=False, sequences=1, prompt_tokens=10, output_tokens=90)
NEED = Amount(requests=1, tokens=100, slots=1)


async def test_two_replicas_share_one_limit():
    clock = Clock()
    bank = AwayBank(clock)
    limits = limits_of(requests_per_minute=10)
    desks = [desk_of(limits, bank=bank, clock=clock, replica=f"r{number}").desk for number in range(2)]
    got = [await desks[number % 2].admit(Caller("acme"), WISH, request_id=str(number)) for number in range(30)]
    assert sum(isinstance(one, Visit) for one in got) == 10
    assert got[-1].code == "rate_limit_exceeded"


async def test_a_new_limit_holds_beside_a_replica_that_gets_no_request():
    clock = Clock()
    bank = AwayBank(clock)
    desks = [
        desk_of(limits_of(tokens_per_day=10**6), bank=bank, clock=clock, replica=f"r{number}").desk for number in (1, 2)
    ]
    for desk in desks:
        await desk.leave(await desk.admit(Caller("acme"), WISH, request_id="before"))
        desk.reconfigure(DeskSettings(tenants=(limits_of(tokens_per_day=10**6, requests_per_minute=5),)))
    got = []
    for number in range(10):
        desks[1]._leases._tells_all = True
        await desks[1]._leases._talk_until_quiet()
        got.append(await desks[0].admit(Caller("acme"), WISH, request_id=str(number)))
    assert sum(isinstance(one, Visit) for one in got) == 5


async def test_the_head_is_away_and_comes_back():
    parts = desk_of(limits_of(tokens_per_day=10_000), limits_of("rate", requests_per_minute=100))
    visit = await parts.desk.admit(Caller("acme"), WISH, request_id="1")
    await parts.desk.leave(visit)
    parts.bank.is_away = True
    # Within the last lease.
    assert isinstance(await parts.desk.admit(Caller("acme"), WISH, request_id="2"), Visit)
    got = [await parts.desk.admit(Caller("acme"), WISH, request_id=str(number)) for number in range(5)]
    refused = got[-1]
    assert isinstance(refused, Refusal)
    assert (refused.status, refused.code) == (503, "limits_unavailable")
    assert isinstance(await parts.desk.admit(Caller("rate"), WISH, request_id="4"), Visit)
    parts.bank.is_away = False
    parts.clock.move(3)
    assert isinstance(await parts.desk.admit(Caller("acme"), WISH, request_id="5"), Visit)


async def test_started_and_stopped_it_writes_what_there_is(monkeypatch):
    monkeypatch.setattr("llama_serving.desk.leases.ROUND_SECONDS", 0)
    parts = desk_of(limits_of(requests_per_minute=10))
    parts.desk.start()
    visit = await parts.desk.admit(Caller("acme", key_id="abcdefghijklmnop"), WISH, request_id="req-1")
    await until(lambda: parts.bank.exchanges >= 3)
    await parts.desk.leave(visit)
    await parts.desk.stop()
    assert parts.counted.values[("llama_gateway_requests", "acme", MODEL, "chat", "499")] == 1
    assert parts.bank.ledger._heard == {}
    line = json.loads(parts.log.lines[0])
    assert UsageEvent.model_validate(line).data.status == 499
    assert line["specversion"] == "1.0"
    assert line["id"] == "req-1"


async def test_usage_waits_for_a_moment_and_limits_do_not():
    parts = desk_of(limits_of(concurrent_requests=1), note_seconds=0.01)
    for number in range(6):
        visit = await parts.desk.admit(Caller("acme"), WISH, request_id=str(number))
        assert isinstance(visit, Visit), "the place of the one before is free at once"
        await parts.desk.leave(visit)
    assert parts.log.lines == []
    await until(lambda: len(parts.log.lines) == 6)
    assert [json.loads(line)["id"] for line in parts.log.lines] == ["0", "1", "2", "3", "4", "5"]


async def test_usage_that_cannot_be_written_holds_back_none_of_the_others(monkeypatch):
    parts = desk_of(note_seconds=0.01)
    write = parts.log.write

    def failing(line):
        if json.loads(line)["id"] == "0":
            raise OSError("no space")
        return write(line)

    monkeypatch.setattr(parts.log, "write", failing)
    for number in range(6):
        await parts.desk.leave(await parts.desk.admit(Caller("acme"), WISH, request_id=str(number)))
    await until(lambda: [json.loads(line)["id"] for line in parts.log.lines] == ["1", "2", "3", "4", "5"])


async def test_usage_that_waits_is_written_at_the_end():
    parts = desk_of(note_seconds=60)
    await parts.desk.leave(await parts.desk.admit(Caller("acme"), WISH, request_id="1"))
    await parts.desk.stop()
    assert json.loads(parts.log.lines[0])["id"] == "1"
    assert parts.counted.values[("llama_gateway_requests", "acme", MODEL, "chat", "499")] == 1


async def test_a_line_that_the_log_does_not_take_is_counted_and_one_that_the_disk_loses_later():
    parts = desk_of()
    parts.log.takes = False
    await parts.desk.leave(await parts.desk.admit(Caller("acme"), WISH, request_id="1"))
    parts.desk._flush()
    assert parts.counted.values[("llama_gateway_usage_lines_lost",)] == 1
    parts.log.lost += 2
    for _ in range(2):
        parts.desk._flush()
    assert parts.counted.values[("llama_gateway_usage_lines_lost",)] == 3


async def test_a_line_holds_nothing_of_prompt_or_answer_and_no_key():
    parts = desk_of()
    await parts.desk.leave(await parts.desk.admit(Caller("acme", key_id="abcdefghijklmnop"), WISH, request_id="1"))
    line = json.loads(parts.log.lines[0])
    assert set(line) == {"specversion", "type", "source", "id", "subject", "time", "datacontenttype", "data"}
    assert set(line["data"]) <= {
        *("started", "model", "adapter", "dialect", "stream", "status", "finish_reason", "key_id"),
        *("prompt_tokens", "cached_tokens", "output_tokens"),
    }


def test_tenants_are_labels_up_to_a_number():
    counted = Counted()
    counters = Counters(counted.make, most_tenants=2)
    for tenant in ("a", "b", "c", "d", "a"):
        counters.rejected(tenant, "rate_limit_exceeded")
    counters.flush()
    counters.flush()
    assert counted.values == {
        ("llama_gateway_rejected", "a", "rate_limit_exceeded"): 2,
        ("llama_gateway_rejected", "b", "rate_limit_exceeded"): 1,
        ("llama_gateway_rejected", "other", "rate_limit_exceeded"): 2,
    }


async def test_wallets_of_tenants_that_are_gone_are_dropped(monkeypatch):
    monkeypatch.setattr("llama_serving.desk.leases.ROUND_SECONDS", 0)
    clock = Clock()
    leases = Leases(AwayBank(clock), replica="one", clock=clock)
    for number in range(100):
        limits = limits_of(f"t-{number}", tokens_per_minute=1000)
        leases.settle(limits.name, await leases.reserve(limits, NEED), 5)
    running = asyncio.create_task(leases.run())

    def are_gone():
        clock.move(20)
        return not leases._wallets

    await until(are_gone)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
