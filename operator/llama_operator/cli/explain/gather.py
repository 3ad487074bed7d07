"""Reads from a cluster what `kubectl llama explain` looks at. Called by `cli.explain.command` and, for the Lease, by `doctor`."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from llama_operator import catalog
from llama_operator.api import readings
from llama_operator.api.manifest import parse_live
from llama_operator.api.meta import ANNOTATION_LISTED_AT, ANNOTATION_LISTS_AGAIN_AT
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus
from llama_operator.catalog.declared import with_declared
from llama_operator.cli.explain.events import WarningFacts, warning_facts
from llama_operator.cli.explain.facts import Facts, HeldFacts, LeaseFacts
from llama_operator.cli.get.rows import row_of
from llama_operator.cli.shared import world
from llama_operator.cli.shared.connection import Connection, Unknown, read_if_permitted, read_if_possible, value_or
from llama_operator.cli.shared.output import moment
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed
from llama_operator.decide.placement.shape import Amounts
from llama_operator.decide.pods import PodFacts
from llama_operator.errors import FieldProblem, InvalidManifestError, NotUnderstoodError
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, NotFoundError, Object, Ref
from llama_operator.observe.nodes.free import ended, held
from llama_operator.observe.unreadable import Unreadable

_RAY_SERVICES = "rayservices.ray.io"
_LEASE = "llama-operator"
"""Name of the Lease that the leading operator holds, or the end of it where a release has another name."""
_MOST_TRIED = 20
"""Acceptances that are tried in the place of the one that is refused: each is a decision of its own."""


async def gather(connection: Connection, live: Object) -> Facts:
    """Read what may matter to the deployment `live`."""
    cluster, metadata = connection.cluster, live["metadata"]
    deployment, problems = _parsed(live)
    facts = Facts(
        namespace=metadata["namespace"],
        name=metadata["name"],
        now=connection.now(),
        generation=metadata.get("generation", 0),
        deleted_at=moment(metadata.get("deletionTimestamp")),
        finalizers=tuple(metadata.get("finalizers") or ()),
        deployment=deployment,
        problems=problems,
        status=row_of(live).status,
    )
    if deployment is None:
        # The first check says so, and skips all others.
        return facts
    observed, lease, keys, warnings = await asyncio.gather(
        world.observed_with(connection, deployment, rollout=False, pods=True),
        read_if_possible(lease_of(cluster)),
        read_if_permitted(_keys(cluster, facts)),
        read_if_possible(_warnings(cluster, facts.namespace)),
    )
    seen = _seen(facts, observed)
    held = await _held_if_needed(cluster, seen.pods, _resource(observed, facts.status))
    return replace(seen, lease=lease, held=held, keys=keys, warnings=value_or(warnings, ()))


async def _keys(cluster: Cluster, facts: Facts) -> int | None:
    kind, _, name = (facts.status.access.keys if facts.status.access else "").partition(" ")
    if kind != kinds.CONFIG_MAP.kind:
        return None
    try:
        found = await cluster.get(Ref(kinds.CONFIG_MAP, facts.namespace, name))
    except NotFoundError:
        return 0
    return len(readings.mapping(found.get("data")))


async def _warnings(cluster: Cluster, namespace: str) -> tuple[WarningFacts, ...]:
    listing = await cluster.list(kinds.EVENT, namespace=namespace, fields={"type": "Warning"})
    return Unreadable().all(listing.items, warning_facts)


def _seen(facts: Facts, observed: Observed) -> Facts:
    """Add what the operator reads too; what may not be read is Unknown."""
    unread = {part.kind: Unknown(part.why) for part in observed.unknown}
    if observed.platform.lacks(_RAY_SERVICES):
        unread[kinds.RAY_SERVICE.plural] = Unknown(f"the API server has no {_RAY_SERVICES}", no_such_kind=True)
    return replace(
        facts,
        allowed=_allowed(observed),
        acceptances=unread.get(kinds.LICENSE_ACCEPTANCE.plural, observed.acceptances or ()),
        revisions=unread.get(kinds.CONTROLLER_REVISION.plural, observed.revisions),
        nodes=unread.get(kinds.NODE.plural, observed.nodes or ()),
        away=observed.away,
        pods=unread.get(kinds.POD.plural, observed.pods or ()),
        services=unread.get(kinds.RAY_SERVICE.plural, observed.ray_services),
        clusters=unread.get(kinds.RAY_CLUSTER.plural, observed.ray_clusters),
    )


def _allowed(observed: Observed) -> frozenset[str]:
    """Names of the acceptances under which the license chain would allow the deployment, if it refuses it now."""
    deployment, known = observed.deployment, catalog.load()
    verdict = decide(observed, known).license
    if verdict is None or verdict.allowed:
        return frozenset()
    families = set(verdict.families)
    names = [each.metadata.name for each in observed.acceptances or () if families & set(each.spec.families)]

    def allows(name: str) -> bool:
        declared = deployment.spec.license.model_copy(update={"acceptance": name})
        spec = deployment.spec.model_copy(update={"license": declared})
        other = decide(replace(observed, deployment=deployment.model_copy(update={"spec": spec})), known).license
        return other is not None and other.allowed

    return frozenset(filter(allows, names[:_MOST_TRIED]))


_UPGRADE = "if the CRDs are of a newer version, upgrade kubectl-llama and the operator to it"


def _parsed(live: Object) -> tuple[LlamaDeployment | None, tuple[FieldProblem, ...]]:
    try:
        return parse_live(LlamaDeployment, live), ()
    except NotUnderstoodError as error:
        return None, tuple(replace(problem, allowed=f"{problem.allowed}; {_UPGRADE}") for problem in error.problems)
    except InvalidManifestError as error:
        return None, error.problems


async def lease_of(cluster: Cluster) -> LeaseFacts | None:
    """Read the Lease of the operator, wherever it is installed; None for none."""
    listing = await cluster.list(kinds.LEASE)
    leases = [lease_facts(item) for item in listing.items if item["metadata"]["name"].endswith(_LEASE)]
    # One that an earlier installation left behind may be there too.
    return max(leases, key=lambda lease: lease.renewed.timestamp() if lease.renewed else 0.0, default=None)


def lease_facts(obj: Object) -> LeaseFacts:
    """What a Lease says."""
    spec, notes = obj.get("spec") or {}, obj["metadata"].get("annotations") or {}
    return LeaseFacts(
        namespace=obj["metadata"].get("namespace", ""),
        holder=spec.get("holderIdentity") or "",
        renewed=moment(spec.get("renewTime")),
        seconds=int(spec.get("leaseDurationSeconds") or 15),
        listed=moment(notes.get(ANNOTATION_LISTED_AT)),
        lists_again=moment(notes.get(ANNOTATION_LISTS_AGAIN_AT)),
    )


async def _held_if_needed(
    cluster: Cluster, own: tuple[PodFacts, ...] | Unknown, resource: str
) -> HeldFacts | Unknown | None:
    # All pods of a large cluster are many megabytes: they are read only when a pod of ours waits for a node.
    if isinstance(own, Unknown) or not any(pod.unschedulable for pod in own):
        return None
    everywhere = await read_if_possible(cluster.list(kinds.POD))
    return everywhere if isinstance(everywhere, Unknown) else _held(everywhere.items, resource)


def _resource(observed: Observed, status: LlamaDeploymentStatus) -> str:
    """Extended resource that the plan asks for; empty where there is none to count."""
    chosen = status.plan.chosen if status.plan else None
    known = with_declared(catalog.load(), observed.accelerators)
    cards = [*known.accelerators, *(node.card for node in observed.nodes or () if node.card is not None)]
    card = next((one for one in cards if chosen is not None and one.name == chosen.accelerator), None)
    return "" if card is None or card.device == "CPU" else card.resource_name


def _held(pods: Iterable[Object], resource: str) -> HeldFacts:
    by_node: Counter[str] = Counter()
    by_namespace: Counter[str] = Counter()
    everything: dict[str, Amounts] = {}
    count: Counter[str] = Counter()
    unreadable = Unreadable()
    for pod in pods:
        node, amounts = (pod.get("spec") or {}).get("nodeName"), unreadable.one(pod, held)
        if not node or amounts is None or ended(pod):
            continue
        everything[node] = everything.get(node, Amounts()) + amounts
        count[node] += 1
        if cards := amounts.devices.get(resource, 0):
            by_node[node] += cards
            by_namespace[pod["metadata"].get("namespace", "")] += cards
    return HeldFacts(by_node, by_namespace, everything, count)
