"""Deployments with the verdict of the license chain, from files or from a cluster. Used by `license explain` and `report`."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from llama_operator import catalog
from llama_operator.api.manifest import parse_live
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.cli.shared import files, outcome, world
from llama_operator.cli.shared.connection import Connection, get_or_explain, list_or_explain
from llama_operator.decide.decision import Decision, decide
from llama_operator.decide.license import LicenseVerdict
from llama_operator.decide.observed import Observed, Unread
from llama_operator.errors import FieldProblem, InvalidManifestError
from llama_operator.evidence.record import RuleRecord, rules
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from llama_operator.observe.read_once import ReadOnce

_LICENSES = frozenset(
    kind.plural
    for kind in (kinds.LICENSE_ACCEPTANCE, kinds.LLAMA_MODEL, kinds.LICENSE_POLICY, kinds.CONTROLLER_REVISION)
)

DISCLAIMER = (
    "This shows which rules the operator enforces and what evidence it has. It is no legal advice, and an acceptance record "
    "is evidence, not the act of acceptance."
)
"""Goes with everything that these commands print."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One deployment, and what the chain says about it."""

    observed: Observed
    decision: Decision

    @property
    def deployment(self) -> LlamaDeployment:
        """The deployment."""
        return self.observed.deployment

    @property
    def address(self) -> str:
        """Namespace and name."""
        return f"{self.deployment.metadata.namespace}/{self.deployment.metadata.name}"

    @property
    def verdict(self) -> LicenseVerdict | None:
        """The verdict; None where the model is not known, so that there was nothing to judge."""
        return self.decision.license

    @property
    def allowed(self) -> bool:
        """Whether the license allows it."""
        return self.verdict is not None and self.verdict.allowed

    @property
    def unchecked(self) -> bool:
        """Whether the chain refuses nothing, yet could not look at the acceptances."""
        return self.allowed and outcome.license_allows(self.verdict) is None

    @property
    def reason(self) -> str:
        """Why, as one word."""
        if self.verdict is not None:
            return self.verdict.reason.value
        return self.decision.problem.reason.value if self.decision.problem else ""

    @property
    def message(self) -> str:
        """Why, for people."""
        if self.verdict is not None:
            return self.verdict.message
        return self.decision.problem.message if self.decision.problem else ""

    @property
    def rules(self) -> tuple[RuleRecord, ...]:
        """Every check, in the order of the chain."""
        return rules(self.verdict) if self.verdict is not None else ()


@dataclass(frozen=True, slots=True)
class Judgments:
    """What was judged.

    Attributes:
        judged: Deployments in the order of the files, or of the cluster.
        invalid: Objects that cannot be read, with their problems.
        unknown: What of the cluster the user may not read, as far as a license rests on it.
    """

    judged: tuple[Judged, ...]
    invalid: tuple[InvalidManifestError, ...] = ()
    unknown: tuple[str, ...] = ()


def from_files(paths: list[str]) -> Judgments:
    """Judge every LlamaDeployment of `paths` by the records beside it, today.

    Raises:
        InvalidManifestError: If a file cannot be read, an object of ours is invalid, or there is no LlamaDeployment.
    """
    now, known = datetime.now(UTC), catalog.load()
    manifests = files.read_all(paths)
    if not manifests:
        problem = FieldProblem("kind", "a LlamaDeployment is needed, found: none", "add its file with -f")
        raise InvalidManifestError(", ".join(paths), [problem])
    observed = [manifest.observed(now) for manifest in manifests]
    return Judgments(tuple(Judged(facts, decide(facts, known)) for facts in observed))


async def from_cluster(connection: Connection, names: Iterable[str], *, all_namespaces: bool = False) -> Judgments:
    """Judge deployments of a cluster by the records that it has.

    Args:
        connection: The cluster, with the namespace asked for.
        names: Which deployments of the namespace; none for all of them.
        all_namespaces: Whether to take those of every namespace.

    Raises:
        ClusterError: If a named deployment does not exist, or llama-operator is not installed.
    """
    namespace = None if all_namespaces else connection.namespace
    named = [
        await get_or_explain(connection.cluster, Ref(kinds.LLAMA_DEPLOYMENT, connection.namespace, name))
        for name in names
    ]
    live = named or (await list_or_explain(connection.cluster, kinds.LLAMA_DEPLOYMENT, namespace)).items
    # One by one: each list is read once, so what is told of one deployment holds for the others too.
    reads = connection.cluster if named else ReadOnce(connection.cluster, namespace)
    known = catalog.load()
    judged, invalid, unread = [], [], []
    for obj in live:
        try:
            deployment = parse_live(LlamaDeployment, obj)
        except InvalidManifestError as error:
            invalid.append(error)
            continue
        observed = await world.observed_with(connection, deployment, reads=reads, rollout=False)
        judged.append(Judged(observed, decide(observed, known)))
        unread += [part for part in observed.unknown if _matters(part, observed)]
    return Judgments(tuple(judged), tuple(invalid), world.whys(unread))


def _matters(part: Unread, observed: Observed) -> bool:
    """Whether a license rests on it: on records, and on which weights run, which nodes may choose."""
    if part.kind == kinds.NODE.plural:
        return observed.deployment.spec.hardware.accelerator == "Auto"
    return part.kind in _LICENSES
