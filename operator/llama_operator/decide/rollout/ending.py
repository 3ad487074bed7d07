"""The end of a deployment whose license has ended: no new requests, time to finish, then no hardware. Pure.

Called by `decide.decision` after the license chain refused. Other refusals change nothing that runs. A terminated
acceptance does (rule P20): the Service selects nothing from now on, and after `drainSeconds`
every RayService goes. The records of the revisions stay: with a new acceptance the same revision comes back.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from llama_operator.api.v1alpha1.licenseacceptance import AcceptanceState, LicenseAcceptance
from llama_operator.decide.license import LicenseVerdict
from llama_operator.decide.observed import Observed, RayServiceFacts

NO_REVISION = ""
"""What the Service selects while a deployment ends: no pod has this revision."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The way to zero.

    Attributes:
        acceptance: The LicenseAcceptance that ended.
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


def ending(observed: Observed, verdict: LicenseVerdict | None) -> Ending | None:
    """How the deployment ends; None unless an acceptance that it rests on was terminated.

    Args:
        observed: What is known; the deployment has a problem already.
        verdict: Of the license chain; None when the model is not known.
    """
    record = _terminated(observed, verdict)
    if record is None:
        return None
    traffic = observed.traffic
    cut = traffic is not None and traffic.revision == NO_REVISION
    since = traffic.since if cut and traffic is not None and traffic.since is not None else observed.now
    until = since + timedelta(seconds=observed.deployment.spec.rollout.drain_seconds)
    running = tuple(service for service in observed.ray_services if not service.leaving)
    # Without a Service no requests were sent; what serves nothing has none to finish.
    drains = traffic is not None and observed.now < until and any(service.serves for service in running)
    return Ending(
        acceptance=record.metadata.name,
        since=since,
        serves_nobody=cut,
        remove=() if drains else running,
        next_check=(until - observed.now).total_seconds() if drains else None,
    )


def _terminated(observed: Observed, verdict: LicenseVerdict | None) -> LicenseAcceptance | None:
    """The terminated acceptance that the deployment rests on: the one that the spec names, or one of its license.

    Naming none, or one that does not exist, is no way out: then a terminated one for this namespace and license counts.
    """
    if verdict is not None and verdict.allowed:
        return None
    namespace = observed.deployment.metadata.namespace
    records = {record.metadata.name: record for record in observed.acceptances or ()}
    ended = {name: each for name, each in records.items() if each.spec.state is AcceptanceState.TERMINATED}
    named = observed.deployment.spec.license.acceptance or ""
    if verdict is None:
        return ended.get(named)
    revoked = verdict.drain
    if not revoked and named in records:
        return None
    families = set(verdict.families)
    of_license = [record for record in ended.values() if families & set(record.spec.families)]
    here = [record for record in of_license if namespace in record.spec.namespaces]
    if not revoked:
        return next(iter(here), None)
    # A grant that ran out ends the license as well, although no record is terminated.
    return ended.get(named) or next(iter(here or of_license), records.get(named))
