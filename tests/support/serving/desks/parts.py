"""Parts of a desk for tests: a clock that the test moves, an engine as vLLM's `AsyncLLM` keeps its states, and counters."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from llama_serving.contract.tenants import DeskSettings, TenantLimits
from llama_serving.desk.amounts import Moment
from llama_serving.desk.counters import Counters
from llama_serving.desk.desk import Desk, ModelFacts
from llama_serving.desk.leases import LedgerAwayError, OwnBank
from llama_serving.tracing.durations import Durations

NOON = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
MODEL = "Llama-3.1-8B-Instruct"
SECRET = b"a secret of the deployment"


class Clock:
    """Both clocks of a moment, moved by hand."""

    def __init__(self, utc=NOON):
        self.seconds, self._utc = 1000.0, utc

    def __call__(self):
        return Moment(seconds=self.seconds, utc=self._utc + timedelta(seconds=self.seconds - 1000.0))

    def move(self, seconds):
        self.seconds += seconds


class AwayBank(OwnBank):
    """A ledger that can be cut off."""

    def __init__(self, clock):
        super().__init__(clock)
        self.is_away, self.exchanges = False, 0

    async def exchange(self, replica, statements):
        self.exchanges += 1
        if self.is_away:
            raise LedgerAwayError("cut off")
        return await super().exchange(replica, statements)


class Counted:
    """Counters that keep what they are told."""

    def __init__(self):
        self.values = {}

    def make(self, name, description, labels):
        def inc(value, tags):
            assert set(tags) == set(labels)
            key = (name, *(tags[label] for label in labels))
            self.values[key] = self.values.get(key, 0) + value

        return SimpleNamespace(inc=inc)


class Observed:
    """Histograms that keep what they are told: name, seconds and labels of each value."""

    def __init__(self):
        self.values, self.bounds = [], {}

    def make(self, name, description, bounds, labels):
        assert description
        self.bounds[name] = bounds

        def observe(value, tags):
            assert set(tags) == set(labels)
            self.values.append((name.removeprefix("gen_ai_server_").removesuffix("_seconds"), round(value, 6), tags))

        return SimpleNamespace(observe=observe)


class Lines:
    """A usage log that keeps its lines."""

    def __init__(self):
        self.lines, self.takes, self.lost = [], True, 0

    def write(self, line):
        if self.takes:
            self.lines.append(line)
        else:
            self.lost += 1
        return self.takes

    def close(self):
        pass


@dataclass
class Load:
    waiting: int = 0
    slots: int = 0


@dataclass
class Parts:
    """A desk and what it was made of."""

    desk: Desk
    clock: Clock
    bank: AwayBank
    counted: Counted
    counters: Counters
    log: Lines
    load: Load
    observed: Observed
    durations: Durations


def desk_of(
    *tenants,
    others=None,
    max_waiting=10_000,
    model=None,
    bank=None,
    clock=None,
    replica="replica-1",
    aliases=None,
    note_seconds=0.0,
    **facts,
):
    """Make a desk; `facts` are of the model."""
    clock = clock or Clock()
    bank, counted, log, load = bank or AwayBank(clock), Counted(), Lines(), Load()
    counters = Counters(counted.make)
    observed = Observed()
    durations = Durations(observed.make)
    desk = Desk(
        DeskSettings(tenants=tenants, others=others, max_waiting_requests=max_waiting, aliases=aliases),
        model=model
        or ModelFacts(name=MODEL, names=lambda: frozenset({MODEL, "adapter"}), **({"max_model_len": 8192} | facts)),
        source="/namespaces/team/llamadeployments/chat",
        replica=replica,
        bank=bank,
        secret=SECRET,
        load=lambda: load,
        counters=counters,
        clock=clock,
        durations=durations,
        log=log,
        note_seconds=note_seconds,
    )
    return Parts(desk, clock, bank, counted, counters, log, load, observed, durations)


def limits_of(name="acme", **limits):
    return TenantLimits(name=name, **limits)


@dataclass
class Sequence:
    """What vLLM's `RequestState` keeps of a sequence, as far as it is read."""

    prompt_len: int
    num_cached_tokens: int = 0
    is_prefilling: bool = True
    made: int = 0
    lora_name: str | None = None
    stats: SimpleNamespace | None = None
    detokenizer: SimpleNamespace = field(init=False)

    def __post_init__(self):
        self.detokenizer = SimpleNamespace(num_output_tokens=lambda: self.made)


class Engine:
    """Makes a token a turn of the loop, and keeps states as vLLM 0.32 does: until a sequence ends or is aborted.

    Attributes:
        aborted: Ids of calls that were aborted.
        held: While set, no tokens are made.
        cached: Cached tokens of each prompt.
    """

    def __init__(self, *, has_states=True, cached=0):
        self.aborted, self.asked, self.cached, self.numbers = [], [], cached, iter(range(10**6))
        self.held = asyncio.Event()
        self.held.set()
        if has_states:
            self.output_processor = SimpleNamespace(request_states={}, external_req_ids={})
        self._states, self._ids = {}, {}
        if has_states:
            self._states, self._ids = self.output_processor.request_states, self.output_processor.external_req_ids

    async def generate(self, prompt, sampling_params, request_id, *, lora_request=None, **_):
        """Stands for `AsyncLLM.generate`; `prompt` is a list of tokens."""
        self.asked.append((request_id, sampling_params.max_tokens))
        await asyncio.sleep(0)
        names = [f"{number}-{request_id}-{next(self.numbers)}" for number in range(sampling_params.n)]
        mine = {name: Sequence(len(prompt), self.cached) for name in names}
        self._states |= mine
        self._ids.setdefault(request_id, []).extend(names)
        parts = sampling_params.output_kind.name == "DELTA"
        try:
            for number in range(sampling_params.max_tokens):
                await asyncio.sleep(0)
                await self.held.wait()
                for state in mine.values():
                    state.is_prefilling, state.made = False, state.made + 1
                is_last = number + 1 == sampling_params.max_tokens
                if is_last:
                    self._forget(request_id, names)
                if parts or is_last:
                    yield self._output(prompt, mine, is_last, parts)
        except (asyncio.CancelledError, GeneratorExit):
            self._forget(request_id, names)
            self.aborted.append(request_id)
            # The engine hears of it from another process.
            await asyncio.sleep(0)
            raise

    @property
    def states(self):
        """States of the sequences that run."""
        return list(self._states.values())

    def _forget(self, request_id, names):
        for name in names:
            self._states.pop(name, None)
            self._ids[request_id].remove(name)

    def _output(self, prompt, mine, is_last, parts):
        return SimpleNamespace(
            prompt_token_ids=prompt,
            num_cached_tokens=self.cached,
            finished=is_last,
            outputs=[
                SimpleNamespace(
                    index=index,
                    token_ids=[7] * (1 if parts else state.made),
                    finish_reason="length" if is_last else None,
                )
                for index, state in enumerate(mine.values())
            ],
        )


def sampling(max_tokens=16, *, n=1, stream=True, min_tokens=0):
    kind = SimpleNamespace(name="DELTA" if stream else "FINAL_ONLY")
    return SimpleNamespace(max_tokens=max_tokens, min_tokens=min_tokens, n=n, output_kind=kind)


async def until(condition):
    """Let the loop turn until `condition` holds."""
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")
