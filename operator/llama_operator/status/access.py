"""Who may send requests to what serves now, and what a person should know about that. Called by `status.summary`.

It is about the revision with the traffic, by what is pinned of it: the spec may ask for something that the next revision has.
"""

from llama_operator.api.said import shortened
from llama_operator.api.v1alpha1.access import AccessMode
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec, Purpose
from llama_operator.api.v1alpha1.llamadeployment_status import MOST_KEYS_CHARACTERS, AccessStatus
from llama_operator.decide.access import Door, door_of_revision
from llama_operator.decide.decision import Decision
from llama_operator.decide.observed import Observed, RevisionFacts
from llama_operator.status.endpoint import Endpoint
from llama_serving.config import RequestPath
from llama_serving.contract.door import Access


def access(endpoint: Endpoint, observed: Observed, decision: Decision) -> AccessStatus | None:
    """Access of the revision that the Service selects; None while there is none, or no hardware is held."""
    record = observed.pinned(endpoint.revision or "")
    if record is None or decision.stopped:
        return None
    door = door_of_revision(record, observed.deployment.metadata.name)
    return AccessStatus(
        revision=record.name,
        mode=door.access,
        path=door.path,
        keys=keys_in_status(door),
        house_limits=_house_limits(record),
        advice=advice(door, observed),
    )


def _house_limits(record: RevisionFacts) -> str:
    """House policy as the replicas have it: what was written into the settings of the revision."""
    house = None if record.live is None or record.live.desk is None else record.live.desk.house
    if house is None:
        return ""
    told = [
        f"at most {bound.most} {what} a minute for each tenant (LicensePolicy {bound.policy}, tier {bound.tier})"
        for bound, what in ((house.requests_per_minute, "requests"), (house.tokens_per_minute, "tokens"))
        if bound is not None
    ]
    return "; ".join(told)


def keys_in_status(door: Door) -> str:
    """Kind and name of the object with the keys. Pinned by somebody else, a name may be longer than one can be."""
    return "" if door.keys is None else shortened(f"{door.keys.kind} {door.keys.name}", MOST_KEYS_CHARACTERS)


def advice(door: Door, observed: Observed) -> str:
    """What somebody should know who thinks that the spec is what serves; empty if there is nothing."""
    spec = observed.deployment.spec
    told = []
    if door.access is Access.OPEN and spec.license.purpose is Purpose.PRODUCTION:
        told.append(
            f"spec.license.purpose is Production, and anyone who reaches the Service is answered without a key: {_why(spec)}"
        )
    if (spec.tenants or spec.other_tenants is not None) and door.path is not RequestPath.DIRECT:
        told.append(
            "the limits of tenants in the spec do not count yet: what serves has the path Ingress, the next revision has Direct"
        )
    return "; ".join(told)


def _why(spec: LlamaDeploymentSpec) -> str:
    """Why what serves is open in production, and what to do."""
    make = "make keys with `kubectl llama key create`"
    if spec.access.mode is AccessMode.OPEN:
        return f"spec.access.mode is Open; to close it, {make} and set the mode to Keys, which starts a new revision"
    return (
        f"what serves was made so, and the next revision asks for keys, whatever change it comes from; {make} before, and set "
        "spec.access.mode to Keys to have that revision now"
    )
