"""One simulated vLLM engine: continuous batching, chunked prefill, admission by KV cache, preemption with recomputation.

Called by `simulate.run`. It moves from one *block* to the next: a step with prompts in it, or as many steps without prompts as pass before
anything changes, whose time has a closed form. An arrival cuts a block of several steps at the next boundary, so the result is that of
single steps. As vLLM v1's scheduler (`vllm/v1/core/sched/scheduler.py`): running answers first, then prompts in the order of arrival while the
step has tokens, the batch a place and the cache room for the whole prompt; when the cache is full, the sequence that was admitted last gives up
its blocks and goes back to the head of the queue. Tokens of the cache are counted one by one, not in blocks of 16. No prefix cache.
"""

import heapq
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from llama_operator.simulate.request import End, Request
from llama_operator.simulate.step_time import StepTime


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What an engine holds."""

    kv_tokens: int
    max_num_seqs: int
    max_model_length: int | None = None
    """Longest prompt and answer together, in tokens; None for what the cache holds."""

    @property
    def longest(self) -> int:
        """Tokens of the longest request that it takes."""
        return self.kv_tokens if self.max_model_length is None else min(self.kv_tokens, self.max_model_length)


@dataclass(frozen=True, slots=True)
class Reading:
    """What an engine reports at one instant; counters are since its start."""

    waiting: int
    running: int
    kv_usage: float
    accepted: int
    finished: int
    prompt_tokens: int
    prompt_pairs: float
    """Pairs of tokens in the prompts of requests that ended, half the square of the length of each."""
    generated_tokens: int


class Engine:
    """One engine. `due` is when its block ends; infinite while it has nothing to do."""

    __slots__ = (
        "_accepted",
        "_began",
        "_cached",
        "_chunks",
        "_decoding",
        "_ends",
        "_finished",
        "_first",
        "_generated",
        "_held",
        "_limits",
        "_order",
        "_pairs",
        "_prefilling",
        "_prompted",
        "_rise",
        "_speed",
        "_step",
        "_steps",
        "_waiting",
        "due",
    )

    def __init__(self, speed: StepTime, limits: EngineLimits) -> None:
        self._speed, self._limits = speed, limits
        self._waiting: deque[Request] = deque()
        self._prefilling: list[Request] = []
        self._decoding: dict[Request, None] = {}
        """Running answers in the order of their admission."""
        self._ends: list[tuple[int, int, Request]] = []
        """Heap of the steps in which answers end; entries of preempted ones stay until they come up."""
        self._order = 0
        self._step = 0
        self._held = 0
        """Tokens of the cache that are taken: whole prompts from their admission on, and answers."""
        self._cached = 0
        """Those of them that belong to running answers."""
        self._accepted = self._finished = self._prompted = self._generated = 0
        self._pairs = 0.0
        self._began, self._steps, self._first, self._rise = 0.0, 0, 0.0, 0.0
        """The block: when it began, its steps, the seconds of its first one, and how much longer each next one takes."""
        self._chunks: list[tuple[Request, int]] = []
        self.due = math.inf

    @property
    def in_flight(self) -> int:
        """Requests that it has taken and not ended."""
        return self._accepted - self._finished

    @property
    def waiting(self) -> int:
        """Requests that wait in it."""
        return len(self._waiting)

    def requests(self) -> Iterator[Request]:
        """Yield all requests in it."""
        yield from self._waiting
        yield from self._prefilling
        yield from self._decoding

    def accept(self, request: Request, now: float) -> None:
        """Take a request. It joins at the next boundary of steps; one that can never fit ends at once."""
        arrival = request.arrival
        if arrival.prompt_tokens + arrival.output_tokens > self._limits.longest:
            request.finish(now, End.TOO_LONG)
            return
        self._accepted += 1
        blocked = bool(self._waiting)
        self._waiting.append(request)
        if self.due == math.inf:
            self._plan(now)
        elif not blocked and self._steps > 1:
            self._cut(now)

    def advance(self) -> list[Request]:
        """End the block that is due, and begin the next one.

        Returns:
            The requests that are answered.
        """
        now, steps = self.due, self._steps
        answers = len(self._decoding)
        self._step += steps
        self._held += steps * answers
        self._cached += steps * answers
        self._generated += steps * answers
        for request, chunk in self._chunks:
            self._prompted += chunk
            request.computed += chunk
            if request.computed == request.context:
                self._join(request, now)
        ended = self._ended(now)
        self._plan(now)
        return ended

    def read(self, now: float) -> Reading:
        """Say what it reports at `now`, which is not after `due`."""
        steps = self._passed(now) if self.due < math.inf else 0
        grown = steps * len(self._decoding)
        return Reading(
            waiting=len(self._waiting),
            running=len(self._prefilling) + len(self._decoding),
            kv_usage=(self._held + grown) / self._limits.kv_tokens,
            accepted=self._accepted,
            finished=self._finished,
            prompt_tokens=self._prompted,
            prompt_pairs=self._pairs,
            generated_tokens=self._generated + grown,
        )

    def _join(self, request: Request, now: float) -> None:
        """The prompt is computed, and that made one token of the answer."""
        self._prefilling.remove(request)
        if request.first_token == math.inf:
            request.first_token = now
        request.joined = self._step
        self._generated += 1
        self._cached += request.context
        self._decoding[request] = None
        self._order += 1
        heapq.heappush(self._ends, (self._step + request.left - 1, self._order, request))

    def _ended(self, now: float) -> list[Request]:
        ended: list[Request] = []
        while self._ends and self._ends[0][0] <= self._step:
            step, _, request = heapq.heappop(self._ends)
            if request not in self._decoding or step != request.joined + request.left - 1:
                continue
            del self._decoding[request]
            self._release(request.context + self._step - request.joined)
            self._finished += 1
            self._pairs += request.arrival.prompt_tokens**2 / 2
            request.finish(now, End.ANSWERED)
            ended.append(request)
        return ended

    def _release(self, tokens: int) -> None:
        self._held -= tokens
        self._cached -= tokens

    def _plan(self, now: float) -> None:
        """Begin the next block at `now`."""
        while self._held + len(self._decoding) > self._limits.kv_tokens:
            self._preempt()
        chunks, tokens, pairs = self._prompts()
        self._began, self._chunks = now, chunks
        answers = len(self._decoding)
        if not chunks and not answers:
            self.due, self._steps = math.inf, 0
            return
        self._first = self._speed.seconds(answers + tokens, pairs, self._cached)
        if chunks:
            self._steps, self._rise = 1, 0.0
        else:
            self._rise = self._speed.per_cached_token * answers
            until_full = (self._limits.kv_tokens - self._held) // answers
            self._steps = max(1, min(self._next_end() - self._step, until_full))
        self.due = now + self._after(self._steps)

    def _prompts(self) -> tuple[list[tuple[Request, int]], int, float]:
        """Take prompts, or parts of them, into the next step: the chunks, their tokens, and their pairs of tokens."""
        chunks: list[tuple[Request, int]] = []
        if not self._prefilling and not self._waiting:
            return chunks, 0, 0.0
        room, pairs = self._speed.most_tokens - len(self._decoding), 0.0
        tokens = 0
        for request in self._prefilling:
            if room <= tokens:
                break
            chunk = min(request.context - request.computed, room - tokens)
            chunks.append((request, chunk))
            tokens += chunk
            pairs += chunk * (request.computed + chunk / 2)
        while self._waiting and tokens < room and self._fits(self._waiting[0]):
            request = self._waiting.popleft()
            self._prefilling.append(request)
            self._held += request.context
            chunk = min(request.context, room - tokens)
            chunks.append((request, chunk))
            tokens += chunk
            pairs += chunk * chunk / 2
        return chunks, tokens, pairs

    def _fits(self, request: Request) -> bool:
        running = len(self._decoding) + len(self._prefilling)
        if running >= self._limits.max_num_seqs:
            return False
        # Room for the step as well: else the newcomer would push itself out at once.
        return self._held + request.context + running + 1 <= self._limits.kv_tokens or running == 0

    def _preempt(self) -> None:
        """The youngest gives up its cache, and is computed anew later."""
        if self._prefilling:
            request = self._prefilling.pop()
            self._held -= request.context
        else:
            request, _ = self._decoding.popitem()
            made = 1 + self._step - request.joined
            self._release(request.context + made - 1)
            request.context += made
            request.left -= made
        request.computed = 0
        self._waiting.appendleft(request)

    def _next_end(self) -> int:
        """Step in which the next answer ends."""
        while True:
            step, _, request = self._ends[0]
            if request in self._decoding and step == request.joined + request.left - 1:
                return step
            heapq.heappop(self._ends)

    def _after(self, steps: int) -> float:
        """Seconds of the first `steps` steps of the block: each reads one more token of the cache for each answer."""
        return steps * self._first + self._rise * steps * (steps - 1) / 2

    def _cut(self, now: float) -> None:
        """End the block at the first boundary that is not before `now`."""
        steps = self._passed(now)
        if self._began + self._after(steps) < now:
            steps += 1
        steps = max(1, steps)
        if steps < self._steps:
            self._steps = steps
            self.due = self._began + self._after(steps)

    def _passed(self, now: float) -> int:
        """Whole steps of the block that have ended by `now`: the root of `_after`, rounded down."""
        elapsed = now - self._began
        if elapsed < self._first or self._steps <= 1:
            return 0
        if self._rise <= 0:
            steps = int(elapsed / self._first)
        else:
            linear = self._first - self._rise / 2
            steps = int((math.sqrt(linear * linear + 2 * self._rise * elapsed) - linear) / self._rise)
        return min(steps, self._steps)
