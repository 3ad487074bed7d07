"""The JSON of `kubectl llama plan -o json`: a stable interface. Called by `cli.plan.command`; the tables use parts of it.

docs/reference/plan-output.schema.json is the interface, docs/plan-output.md explains it. Fields are added, never renamed or
removed; every field is always there, null where nothing is known.
"""

from collections.abc import Iterator
from typing import Any

from llama_operator.api.reasons import ConditionType
from llama_operator.cli.shared import outcome, output
from llama_operator.decide.access import Door
from llama_operator.decide.copies.needed import is_read_from_volume
from llama_operator.decide.decision import Decision
from llama_operator.decide.exposure import open_to_everyone
from llama_operator.decide.guard.planned import GuardPlan
from llama_operator.decide.license import LicenseVerdict
from llama_operator.decide.observed import Observed
from llama_operator.decide.placement.images import lacks_image
from llama_operator.decide.placement.replica_choice import RoutingAdvice, routing_advice
from llama_operator.decide.placement.shape import PodShape, PodShapes
from llama_operator.decide.plan.candidate import Candidate, Rejection
from llama_operator.decide.plan.cold_start import Stage, total_seconds
from llama_operator.decide.plan.status import label
from llama_operator.decide.problem import Problem
from llama_operator.decide.weights.loader import Loader, loader
from llama_operator.status import conditions
from llama_operator.status.access import advice
from llama_operator.status.finding import Finding


def document(observed: Observed, decision: Decision, built: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """Build the document."""
    metadata = observed.deployment.metadata
    nodes_hold_it = capacity(observed, decision)
    return {
        "deployment": {"name": metadata.name, "namespace": metadata.namespace},
        "license": None if decision.license is None else _license(decision.license),
        "plan": _plan(decision),
        "coldStart": _cold_start(cold_start(decision)),
        "loader": None if (reads := loads(observed, decision)) is None else _loader(reads),
        "pods": None if decision.shapes is None else pods(decision.shapes),
        **({} if decision.guard is None else {"guard": _guard(decision.guard)}),
        "door": None if decision.door is None else _door(decision.door),
        "routing": None if decision.door is None else _routing(routing_advice(observed.deployment.spec)),
        "capacity": None if nodes_hold_it is None else output.picked(nodes_hold_it, "status", "reason", "message"),
        "problem": problem(decision.problem),
        "warnings": list(warnings(observed, decision)),
        "objects": built,
    }


def _guard(guard: GuardPlan) -> dict[str, Any]:
    return {
        "model": guard.model.id,
        "replicas": guard.deployment.spec.scaling.min_replicas,
        "chosen": guard.chosen.to_api(),
        # On the model's cards it is in the model's pods.
        **({} if guard.shapes is None else {"worker": _asked(guard.shapes.worker)}),
    }


def _door(door: Door) -> dict[str, Any]:
    return {
        "path": door.path,
        "access": door.access,
        "keys": None if door.keys is None else {"kind": door.keys.kind, "name": door.keys.name},
        "message": door.words,
    }


def _routing(advised: RoutingAdvice) -> dict[str, Any]:
    rules = [output.picked(rule, "number", "routing", "holds", "why") for rule in advised.rules]
    return {"routing": advised.routing, "message": advised.words, "rules": rules}


def pods(shapes: PodShapes) -> dict[str, Any]:
    """What the pods ask of their nodes."""
    return {
        "workersPerReplica": shapes.per_replica,
        "head": _asked(shapes.head),
        "worker": _asked(shapes.worker),
    }


def _asked(shape: PodShape) -> dict[str, Any]:
    asked = shape.asked
    return {
        "cpuMillicores": asked.cpu_millicores,
        "memoryBytes": asked.memory_bytes,
        "ephemeralStorageBytes": asked.ephemeral_storage_bytes,
        "devices": dict(asked.devices),
    }


def cold_start(decision: Decision) -> tuple[Stage, ...]:
    """Stages of a cold start of the chosen candidate, and of the copy before it; none if nothing fits."""
    if decision.model is None or decision.plan is None or decision.plan.chosen is None:
        return ()
    return decision.cold_start


def loads(observed: Observed, decision: Decision) -> Loader | None:
    """How the chosen candidate reads its weights; None if nothing fits."""
    if decision.model is None or decision.plan is None or (chosen := decision.plan.chosen) is None:
        return None
    arguments = observed.deployment.spec.engine.arguments
    return loader(arguments, decision.model.architecture, chosen, copied=is_read_from_volume(observed.deployment))


def _loader(reads: Loader) -> dict[str, Any]:
    return {"loadFormat": reads.load_format, "message": reads.why}


def capacity(observed: Observed, decision: Decision) -> Finding | None:
    """Say whether the nodes hold the plan, as the condition CapacityFound would; None without nodes or plan."""
    if observed.nodes is None or decision.chosen is None or decision.stopped:
        return None
    findings = conditions.findings(observed, decision, None)
    return next(finding for finding in findings if finding.type is ConditionType.CAPACITY_FOUND)


def warnings(observed: Observed, decision: Decision) -> tuple[str, ...]:
    """What the plan does not hold against the spec, and a person should know.

    Nodes that are not used, an image that is needed, a door that is open in production, a way in that is open to
    everyone or that the cluster cannot have.
    """
    known = [f"node {node.name} {node.device_problem}" for node in observed.nodes or () if node.device_problem]
    if decision.door is not None and (told := advice(decision.door, observed)):
        known.append(told)
    known += _about_the_way_in(decision)
    chosen = None if decision.plan is None else decision.plan.chosen
    if chosen is None or observed.images is not None:
        return tuple(known)
    image = lacks_image(chosen.accelerator, asked=observed.deployment.spec.image, others={})
    return (*((f"{image}; what images it has is not known here",) if image else ()), *known)


def _about_the_way_in(decision: Decision) -> Iterator[str]:
    wanted = decision.exposure
    if wanted.spec is None:
        return
    if wanted.lacks:
        yield f"spec.endpoint.expose: {wanted.lacks}"
    if everyone := open_to_everyone(wanted.spec, decision.door):
        yield f"spec.endpoint.expose: {everyone}"


def why_not_chosen(candidate: Candidate, chosen: Candidate) -> str:
    """Why a candidate that fits is not the one, in the order in which the planner compares; also used by the table."""
    if candidate.gpus != chosen.gpus:
        rate = f" ({candidate.replicas} replicas for the rate)" if candidate.replicas > 1 else ""
        return f"takes {candidate.gpus}{rate} instead of {chosen.gpus}"
    prices = [item.usd_micros_per_hour * item.replicas for item in (candidate, chosen)]
    if prices[0] != prices[1]:
        asked, paid = (f"{price / 1e6:,.2f}" if price else "an unknown price" for price in prices)
        return f"costs {asked} instead of {paid} USD an hour"
    if candidate.variant.precision != chosen.variant.precision:
        return f"same size; {candidate.variant.precision} instead of {chosen.variant.precision} weights"
    if not candidate.accelerator.tensor_friendly and candidate.sharding.tensor > chosen.sharding.tensor:
        return "same size; without a fast link between cards, stages talk less than shards of a layer"
    return "same size; not faster by the estimate"


def _license(verdict: LicenseVerdict) -> dict[str, Any]:
    denied = ("rule", "reason", "message", "unblock", "clause", "origin")
    return {
        "allowed": outcome.license_allows(verdict),
        **output.picked(verdict, "tier", "families", "reason", "message"),
        "denials": [output.picked(denial, *denied) for denial in verdict.denials],
    }


def _plan(decision: Decision) -> dict[str, Any]:
    chosen, plan = decision.chosen, decision.plan
    best = plan.chosen if plan is not None else None
    return {
        "chosen": None
        if chosen is None
        else chosen.model_dump(mode="json", by_alias=True) | {"candidate": label(chosen)},
        "alternatives": []
        if plan is None or best is None
        else [_candidate(other) | {"message": why_not_chosen(other, best)} for other in plan.alternatives],
        "rejected": [] if plan is None else [_rejected(rejection) for rejection in plan.rejected],
        "changes": []
        if plan is None
        else [output.picked(change, "field", "value", "gives") for change in plan.changes],
    }


def _rejected(rejection: Rejection) -> dict[str, Any]:
    return _candidate(rejection.candidate) | output.picked(rejection, "reason", "message", "nearest")


def _candidate(candidate: Candidate) -> dict[str, Any]:
    memory, speed = candidate.memory, candidate.performance
    return {
        "candidate": candidate.label,
        "precision": candidate.variant.precision,
        "repository": candidate.variant.repository or "",
        "accelerator": candidate.accelerator.name,
        "tensorParallelSize": candidate.sharding.tensor,
        "pipelineParallelSize": candidate.sharding.pipeline,
        "gpusPerReplica": candidate.sharding.ranks,
        "nodesPerReplica": candidate.nodes,
        "memoryBytesPerGPU": memory.budget,
        "weightBytesPerGPU": memory.weights,
        "reserveBytesPerGPU": memory.reserve,
        "adapterBytesPerGPU": memory.adapters or None,
        "guardBytesPerGPU": memory.guard or None,
        "kvCacheBytesPerGPU": max(0, memory.left_for_kv),
        "kvCacheTokens": memory.kv_tokens,
        "replicasForObjectives": candidate.replicas if candidate.replicas_counted else None,
        "usdMicrosPerHour": candidate.usd_micros_per_hour or None,
        "timeToFirstTokenMs": speed.time_to_first_token_ms if speed else None,
        "timePerOutputTokenUs": speed.time_per_output_token_us if speed else None,
        "requestsPerMinute": speed.requests_per_minute if speed else None,
    }


def _cold_start(parts: tuple[Stage, ...]) -> dict[str, Any] | None:
    if not parts:
        return None
    return {"seconds": total_seconds(parts), "stages": [output.picked(part, "name", "seconds") for part in parts]}


def problem(stop: Problem | None) -> dict[str, Any] | None:
    """Why the decision stops; also used by `cli.diff.difference`."""
    return None if stop is None else output.picked(stop, "condition", "field", "reason", "message")
