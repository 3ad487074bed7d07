"""All objects of a deployment. Called by the reconcile and by `kubectl llama plan`."""

from dataclasses import dataclass
from typing import Any

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.decide.decision import Decision
from llama_operator.decide.observed import Observed, Settings
from llama_operator.desired import network, rayservice
from llama_operator.desired.serve_config import serving_config


@dataclass(frozen=True, slots=True)
class Desired:
    """What to write, in this order: apply all of `apply`, then delete the RayServices named in `delete`."""

    apply: tuple[dict[str, Any], ...] = ()
    delete: tuple[str, ...] = ()


def build(observed: Observed, decision: Decision, settings: Settings) -> Desired:
    """Build what shall exist.

    A decision with a problem changes nothing: what already serves goes on serving.
    """
    if decision.problem is not None or decision.rollout is None:
        return Desired()
    deployment, rollout = observed.deployment, decision.rollout
    fixtures = (network.network_policy(deployment, settings), network.service(deployment, rollout.traffic))
    if decision.stopped:
        return Desired(apply=fixtures, delete=tuple(service.name for service in observed.ray_services))
    return Desired(apply=(*fixtures, _ray_service(deployment, decision, settings)), delete=rollout.obsolete)


def _ray_service(deployment: LlamaDeployment, decision: Decision, settings: Settings) -> dict[str, Any]:
    plan, model, live, rollout = decision.plan, decision.model, decision.live, decision.rollout
    if plan is None or plan.chosen is None or model is None or live is None or rollout is None:
        raise ValueError("a decision without a problem has a model, a plan, a rollout and live settings")
    config = serving_config(
        deployment,
        model,
        plan.chosen,
        revision=rollout.wanted,
        max_model_length=decision.max_model_length,
        max_num_seqs=plan.max_num_seqs,
        settings=settings,
    )
    return rayservice.build(deployment, plan.chosen, config, live, settings=settings)
