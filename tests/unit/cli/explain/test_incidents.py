"""`explain` in incidents, as real programs told of them: it names what is wrong, and is not green beside it."""

import re
from dataclasses import replace

import pytest

from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus, RevisionStatus
from llama_operator.cli.explain.chain import chain, ready
from llama_operator.cli.explain.facts import Facts
from llama_operator.cli.shared.checks import State
from llama_operator.cli.shared.connection import Unknown
from llama_operator.decide.diagnosis.causes import causes
from support import recordings
from support.deployments import deployment_of

STEPS = {
    "quota": "cluster",
    "limit-range": "cluster",
    "webhook-down": "cluster",
    "policy-denies": "cluster",
    "gpus-taken": "capacity",
    "tainted": "capacity",
    "node-gone": "capacity",
    "node-silent": "capacity",
    "image-missing": "cluster",
    "secret-missing": "cluster",
    "out-of-memory": "cluster",
    "crash-loop": "cluster",
    "disk-share-full": "cluster",
}


@pytest.fixture
def serving_status(serving_facts):
    chosen, conditions, _ = serving_facts
    written = {"observedGeneration": 1, "conditions": conditions(), "plan": {"chosen": chosen}, "url": "http://chat"}
    return LlamaDeploymentStatus.model_validate(written)


@pytest.fixture
def explained(serving_status):
    """What explain knows of a recording while the status still says that all is well."""

    def make(name, **more):
        observed, revision = recordings.observed(name, **more)
        status = serving_status.model_copy(update={"revisions": RevisionStatus(active=revision)})
        return Facts(
            namespace="team-a",
            name="chat",
            now=observed.now,
            generation=1,
            deleted_at=None,
            finalizers=(),
            deployment=deployment_of(),
            problems=(),
            status=status,
            nodes=Unknown("not recorded") if observed.nodes is None else observed.nodes,
            away=observed.away,
            pods=observed.pods,
            services=observed.ray_services,
            clusters=observed.ray_clusters,
        ), causes(observed, revision)

    return make


def by_name(facts):
    return {check.name: check for check in chain(facts)}


@pytest.mark.parametrize("name", STEPS)
def test_the_step_that_it_concerns_fails_with_the_cause_and_its_hint(explained, name):
    facts, (cause, *_) = explained(name)
    check = by_name(facts)[STEPS[name]]
    assert check.state is State.FAILED
    assert cause.message in check.evidence
    # The accelerator is that of the plan, which no recording has.
    assert cause.hint.replace("GPU nodes", "H100-80GB nodes").partition(" -l ")[0] in check.unblock


@pytest.mark.parametrize("name", ["node-gone", "node-silent"])
def test_a_total_outage_is_green_nowhere_though_the_status_has_not_heard_of_it(explained, name):
    facts, _ = explained(name)
    lost = {pod.node for pod in facts.pods}
    facts = replace(facts, nodes=tuple(node for node in facts.nodes if node.name not in lost))
    checks = by_name(facts)
    assert {checks[step].state for step in ("capacity", "endpoint")} == {State.FAILED}
    assert not ready(facts)


def test_a_node_that_is_not_ready_is_named_and_not_counted(explained):
    facts, _ = explained("node-silent")
    evidence = by_name(replace(facts, status=on_h200(facts.status)))["capacity"].evidence
    assert re.search(r"the cluster has 0 on 0 node\(s\); h200-8-\d.* not ready since 20", evidence)


def on_h200(status):
    chosen = status.plan.chosen.model_copy(update={"accelerator": "H200-141GB"})
    return status.model_copy(update={"plan": status.plan.model_copy(update={"chosen": chosen})})
