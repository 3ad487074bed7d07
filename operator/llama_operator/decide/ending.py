"""What becomes of a deployment whose license has ended: no new requests, time to finish, then no hardware. Pure.

Called by `decide.decision` after the license chain refused. What else the chain refuses leaves alone what runs; an
acceptance that was terminated does not (rule P20): the Service selects nothing from now on, and after `drainSeconds`
every RayService goes. The records of the revisions stay: with a new acceptance the same revision comes back.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from llama_operator.api.v1alpha1.licenseacceptance import AcceptanceState, LicenseAcceptance
from llama_operator.decide.observed import Observed, RayServiceFacts

NO_REVISION = ""
"""What the Service selects while a deployment ends: no pod has this revision."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The way to zero.

    Attributes:
        acceptance: The LicenseAcceptance that was terminated.
        since: When the Service stopped sending requests.
        serves_nobody: Whether it has stopped already, as far as the cluster shows.
        remove: RayServices to delete now; empty while they drain.
        next_check: Seconds until the drain is over; None when only an event matters.
    """

    acceptance: str
    since: datetime
    serves_nobody: bool
    remove: tuple[RayServiceFacts, ...] = ()
    next_check: float | None = None


def ending(observed: Observed, families: tuple[str, ...]) -> Ending | None:
    """How the deployment ends; None unless an acceptance that it rests on was terminated.

    Args:
        observed: What is known; the license chain has refused it already.
        families: Ids of the license families that apply to the model; empty when they are not known.
    """
    record = _terminated(observed, frozenset(families))
    if record is None:
        return None
    traffic = observed.traffic
    cut = traffic is not None and traffic.revision == NO_REVISION
    since = traffic.since if cut and traffic is not None and traffic.since is not None else observed.now
    until = since + timedelta(seconds=observed.deployment.spec.rollout.drain_seconds)
    running = tuple(service for service in observed.ray_services if not service.leaving)
    # Without a Service nobody has sent it requests; what serves nothing has none to finish.
    drains = traffic is not None and observed.now < until and any(service.serves for service in running)
    return Ending(
        acceptance=record.metadata.name,
        since=since,
        serves_nobody=cut,
        remove=() if drains else running,
        next_check=(until - observed.now).total_seconds() if drains else None,
    )


def _terminated(observed: Observed, families: frozenset[str]) -> LicenseAcceptance | None:
    """The terminated acceptance that the deployment rests on.

    It is the one that the spec names. Naming none, or one that does not exist, is no way out: then any terminated one
    for this namespace and license counts.
    """
    spec, namespace = observed.deployment.spec, observed.deployment.metadata.namespace
    records = {record.metadata.name: record for record in observed.acceptances or ()}
    named = records.get(spec.license.acceptance or "")
    if named is not None:
        return named if named.spec.state is AcceptanceState.TERMINATED else None
    return next(
        (
            record
            for record in records.values()
            if record.spec.state is AcceptanceState.TERMINATED
            and namespace in record.spec.namespaces
            and families & set(record.spec.families)
        ),
        None,
    )
