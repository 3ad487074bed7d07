"""A fleet under a load that goes on, as Serve's lists and reports show it to the policy; nothing in it gets late.

For tests of what Serve, its clock and its store do to the policy.
"""

from llama_serving.autoscaling import (
    FACT_METRICS,
    METRIC_ACCEPTED,
    METRIC_FINISHED,
    METRIC_GENERATED_TOKENS,
    METRIC_PROMPT_TOKENS,
    METRIC_RUNNING,
    Memory,
    QueueDepthPolicy,
)
from support.serving.scaling.serve_contexts import PRICED, Store, context, metrics

START = 100.0
_STARTED = PRICED | {FACT_METRICS["measured_start"]: START}
"""Engines that took 100 s to start."""
ALL = ("a", "b", "c", "d")


class Fleet:
    """The fleet; `wishes` are those of the policy, two for each second."""

    def __init__(self, listed=ALL, rate=0.5, store=None):
        self.store = Store() if store is None else store
        self.state, self.rate = {}, rate
        self.wishes = []
        self.policy = QueueDepthPolicy(self.store)
        self.goes_on(0, 300, listed, target=len(listed))

    def goes_on(self, begin, end, listed, *, target, changes=False, clock=0.0):
        """From second `begin` to `end`; Serve makes the policy anew where a setting `changes`, and forgets its state.

        `clock` is what the clock of Serve's controller is ahead.
        """
        if changes:
            self.policy, self.state = QueueDepthPolicy(self.store), {}
        for tick in range(begin * 2, end * 2):
            at = tick / 2
            said = {
                METRIC_ACCEPTED: self.rate * at,
                METRIC_FINISHED: self.rate * at,
                METRIC_PROMPT_TOKENS: 1000.0 * self.rate * at,
                METRIC_GENERATED_TOKENS: 100.0 * self.rate * at,
                METRIC_RUNNING: 1.0,
            }
            now = context(at=at + clock, target=target, state=self.state, minimum=0, queued=0.0, total=8.0)
            now.running_replicas, now.current_num_replicas = list(listed), len(listed)
            now.aggregated_metrics = metrics(listed, **_STARTED | said)
            wish, self.state = self.policy(now)
            self.wishes.append(wish)
        return Memory.from_json(self.state["llama_memory"])
