"""Answers of pods are kept for /metrics while they say something about now."""

import pytest

from llama_operator.observe.answers import FRESH_SECONDS, KeptAnswers
from llama_serving.contract.status import DeploymentIdentity, ScalingState, ServingStatus


class Pods:
    answer: ServingStatus | None = None

    async def read(self, *, namespace, service, address):
        return self.answer


def said(name="chat", replicas=1, decided=None):
    return ServingStatus(
        identity=DeploymentIdentity(namespace="team-a", name=name, revision="r"), model_id="m", replicas=replicas,
        target_replicas=replicas, queue_depth=0, running_requests=0,
        scaling=None if decided is None else ScalingState(at=decided, wanted_replicas=replicas),
    )  # fmt: skip


@pytest.fixture
def kept():
    kept = KeptAnswers(Pods(), lambda: kept.now)
    kept.now, kept.pods = 100.0, kept._inner
    return kept


async def ask(kept, answer):
    kept.pods.answer = answer
    assert await kept.read(namespace="team-a", service="chat", address="") is answer


async def test_the_last_answer_counts(kept):
    await ask(kept, said(replicas=1))
    await ask(kept, said(replicas=2))
    assert [one.replicas for one in kept.fresh()] == [2]


async def test_silence_does_not_end_it_at_once_and_age_does(kept):
    await ask(kept, said())
    await ask(kept, None)
    kept.now += FRESH_SECONDS
    assert len([*kept.fresh()]) == 1
    kept.now += 1
    assert [*kept.fresh()] == []


async def test_pods_of_another_deployment_scale_nobody(kept):
    await ask(kept, said("other"))
    assert [*kept.fresh()] == []


@pytest.mark.parametrize(("clock", "tells"), [((5.0,) * 6, False), ((5.0, 15.0, 25.0, 1.0, 11.0, 21.0), True)])
async def test_an_autoscaler_that_decides_no_more_says_nothing_about_now(kept, clock, tells):
    """Pods go on to tell the last decision of a policy that fails, or of a controller that stands still. Their clock may be any."""
    for decided in clock:
        await ask(kept, said(replicas=4, decided=decided))
        kept.now += 15
    (answer,) = kept.fresh()
    assert (answer.replicas, answer.scaling is not None) == (4, tells)
