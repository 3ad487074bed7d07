"""Exposed: whether requests from outside have a way in, and at which URLs. Called by `status.conditions` and `status.summary`.

For an HTTPRoute the Gateway says so, in its own words. An Ingress has no such word: it counts as taken up once its controller
has put an address into it.
"""

from collections.abc import Iterable
from dataclasses import replace

from llama_operator.api.meta import ConditionStatus
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.endpoint import GatewayReference
from llama_operator.decide.access import Door, door_of_revision
from llama_operator.decide.conditions import ConditionFacts
from llama_operator.decide.decision import Decision
from llama_operator.decide.diagnosis import hints
from llama_operator.decide.diagnosis.cause import BEFORE_HINT
from llama_operator.decide.exposure import open_to_everyone
from llama_operator.decide.observed import Observed
from llama_operator.decide.routes import HTTP_ROUTE, ParentFacts, RouteFacts
from llama_operator.status.finding import Finding

_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


def exposed(observed: Observed, decision: Decision) -> Finding | None:
    """The condition Exposed, with what a person can do; None where the spec asks for no way in, and there is none."""
    finding = _judged(observed, decision)
    hint = None if finding is None else hints.hint(finding.reason, finding.message)
    if finding is None or hint is None:
        return finding
    metadata = observed.deployment.metadata
    text = hint.do.format(name=metadata.name, namespace=metadata.namespace)
    return replace(finding, message=f"{finding.message}{BEFORE_HINT}{text}")


def urls(observed: Observed, decision: Decision) -> tuple[str, ...] | None:
    """Base URLs from outside; None until requests have a way in."""
    finding = exposed(observed, decision)
    spec = decision.exposure.spec
    if spec is None or finding is None or finding.status is not _TRUE:
        return None
    return tuple(f"https://{host}/v1" for host in dict.fromkeys(spec.hosts))


def _judged(observed: Observed, decision: Decision) -> Finding | None:
    exposure, refused = decision.exposure, observed.refused_route
    if exposure.spec is None or exposure.kind is None:
        # What may not be deleted goes on to let requests in.
        return None if refused is None else _finding(_UNKNOWN, Reason.WRITE_REFUSED, refused.why)
    name, kind = observed.deployment.metadata.name, exposure.kind.kind
    if exposure.lacks:
        kept = "".join(f"; {old.kind.kind} {old.name} stays as it is" for old in exposure.obsolete)
        return _finding(_FALSE, Reason.ROUTE_KIND_MISSING, f"{exposure.lacks}: no {kind} is made{kept}")
    if refused is not None:
        return _finding(_FALSE, Reason.WRITE_REFUSED, f"{refused.why}; nothing else waits for it")
    route = _route(observed, decision)
    if route is None:
        return _finding(_UNKNOWN, Reason.WAITING, f"{kind} {name} is made together with the Service")
    gateway = exposure.spec.gateway
    closed = _of_ingress(route) if gateway is None else _of_gateway(route, observed, gateway)
    if closed is not None:
        return closed
    door, hosts = _door(observed, decision), ", ".join(exposure.spec.hosts)
    if everyone := open_to_everyone(exposure.spec, door):
        return _finding(_TRUE, Reason.OPEN_TO_EVERYONE, everyone)
    who = "" if door is None else f", and who sends them shows {door.words}"
    return _finding(_TRUE, Reason.WAY_OPEN, f"{kind} {name} takes requests for {hosts}{who}")


def _finding(status: ConditionStatus, reason: Reason, message: str) -> Finding:
    return Finding(ConditionType.EXPOSED, status, reason, message)


def _route(observed: Observed, decision: Decision) -> RouteFacts | None:
    return next(
        (route for route in observed.routes if route.kind == decision.exposure.kind and not route.leaving), None
    )


def _door(observed: Observed, decision: Decision) -> Door | None:
    """Who may send requests to the revision with the traffic, or to the one that is about to get it; None if there is none."""
    traffic = decision.traffic
    if traffic is None and observed.traffic is not None:
        traffic = observed.traffic.revision
    record = observed.pinned(traffic or "")
    if record is None:
        return decision.door
    return door_of_revision(record, observed.deployment.metadata.name)


def _of_ingress(route: RouteFacts) -> Finding | None:
    """What keeps requests from an Ingress; None if nothing is known to."""
    if route.addresses:
        return None
    return _finding(_UNKNOWN, Reason.WAY_PENDING, f"no controller has put an address into Ingress {route.name} yet")


def _of_gateway(route: RouteFacts, observed: Observed, gateway: GatewayReference) -> Finding | None:
    """What keeps requests from a Gateway; None if it takes them."""
    namespace = observed.deployment.metadata.namespace
    where = f"Gateway {gateway.namespace or namespace}/{gateway.name}"
    parents = [one for one in route.parents if _is(one, gateway, namespace)]
    judged = [condition for one in parents for condition in one.conditions]
    for kind, reason in (("Accepted", Reason.ROUTE_NOT_ACCEPTED), ("ResolvedRefs", Reason.ROUTE_NOT_RESOLVED)):
        if (wrong := _first(judged, kind, "False")) is not None:
            verb = "does not accept" if reason is Reason.ROUTE_NOT_ACCEPTED else "cannot follow"
            said = f"{where} {verb} {HTTP_ROUTE.kind} {route.name}: {wrong.reason}: {wrong.message}"
            return _finding(_FALSE, reason, said)
    if _first(judged, "Accepted", "True") is None:
        text = f"no controller has judged {HTTP_ROUTE.kind} {route.name} for {where} yet"
        return _finding(_UNKNOWN, Reason.WAY_PENDING, text)
    return None


def _is(parent: ParentFacts, gateway: GatewayReference, namespace: str) -> bool:
    wanted = (gateway.name, gateway.namespace or namespace, gateway.section_name or "")
    return (parent.name, parent.namespace, parent.section_name) == wanted


def _first(conditions: Iterable[ConditionFacts], kind: str, status: str) -> ConditionFacts | None:
    return next((one for one in conditions if one.type == kind and one.status == status), None)
