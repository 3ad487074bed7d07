"""The time in which a revision has to serve follows from what a start takes, and never kills a slow one."""

from dataclasses import replace

import pytest

from llama_operator import catalog
from llama_operator.api.v1alpha1.llamadeployment_status import ColdStartStatus, LlamaDeploymentStatus
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Settings
from llama_operator.decide.starts.deadline import progress_deadline
from llama_operator.desired import revision


@pytest.mark.parametrize(
    ("said", "predicted", "measured", "seconds"),
    [
        pytest.param(None, 600, None, 3600, id="an hour is enough for most"),
        pytest.param(None, 2000, None, 6000, id="three starts by the plan"),
        pytest.param(None, 600, 1500, 4500, id="three starts as they were measured"),
        pytest.param(None, None, None, 3600, id="a plan of before"),
        pytest.param(3600, 2000, None, 6000, id="what an older definition wrote counts as unset"),
        pytest.param(1800, 2000, 5000, 1800, id="what a user wrote holds"),
    ],
)
def test_the_deadline(observed, said, predicted, measured, seconds):
    given = observed(rollout={} if said is None else {"progressDeadlineSeconds": said})
    decision = decide(given, catalog.load())
    pinned = revision.new(given, decision, Settings())
    chosen = pinned.plan.chosen.model_copy(update={"cold_start_seconds": predicted})
    pinned = replace(pinned, plan=pinned.plan.model_copy(update={"chosen": chosen}))
    cold = None if measured is None else ColdStartStatus(plan="p", measured_seconds=measured)
    status = LlamaDeploymentStatus(cold_start=cold)
    deployment = given.deployment.model_copy(update={"status": status})
    given = replace(given, deployment=deployment, revisions=(pinned,))
    assert progress_deadline(given, pinned.name) == seconds
    assert progress_deadline(given, "no-such-revision") == (1800 if said == 1800 else max(3600, 3 * (measured or 0)))


def test_no_probe_of_ours_ends_a_start(observed):
    """The container that loads a model gets no probe from us: KubeRay's own look at Ray, which runs before any weight is read."""
    given = observed()
    pinned = revision.new(given, decide(given, catalog.load()), Settings())
    pods = [pinned.cluster["headGroupSpec"], *pinned.cluster["workerGroupSpecs"]]
    containers = [one for pod in pods for one in pod["template"]["spec"]["containers"]]
    assert containers
    assert [one for one in containers if {"startupProbe", "livenessProbe", "readinessProbe"} & one.keys()] == []
