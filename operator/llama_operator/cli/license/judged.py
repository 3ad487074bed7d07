"""Deployments with the verdict of the license chain, from files or from a cluster. Used by `license explain` and `report`."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from llama_operator import catalog
from llama_operator.api.manifest import parse_as
from llama_operator.api.meta import LABEL_DEPLOYMENT
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.cli.shared import files, license_records
from llama_operator.cli.shared.connection import Connection, Unknown, facts_of, get_or_explain, list_or_explain
from llama_operator.decide.decision import Decision, decide
from llama_operator.decide.license import LicenseVerdict
from llama_operator.decide.observed import Observed, RevisionFacts
from llama_operator.errors import FieldProblem, InvalidManifestError
from llama_operator.evidence.record import RuleRecord, rules
from llama_operator.kube import kinds
from llama_operator.kube.port import Object, Ref
from llama_operator.observe import children

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
        return self.allowed and any(rule.outcome == "NotChecked" for rule in self.rules)

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
class Found:
    """What was judged.

    Attributes:
        judged: Deployments in the order in which they were found.
        invalid: Objects that cannot be read, with their problems.
        unknown: What of the cluster may not be read.
    """

    judged: tuple[Judged, ...]
    invalid: tuple[InvalidManifestError, ...] = ()
    unknown: tuple[str, ...] = ()


def from_files(paths: list[str]) -> Found:
    """Judge every LlamaDeployment of `paths` by the records beside it, today.

    Raises:
        InvalidManifestError: If a file cannot be read, an object of ours is invalid, or there is no LlamaDeployment.
    """
    now, known = datetime.now(UTC), catalog.load()
    manifests = files.read_all(paths)
    if not manifests:
        problem = FieldProblem("kind", "a LlamaDeployment is needed, found: none", "add its file with -f")
        raise InvalidManifestError(", ".join(paths), [problem])
    observed = [each.observed(now) for each in manifests]
    return Found(tuple(Judged(each, decide(each, known)) for each in observed))


async def from_cluster(connection: Connection, names: Iterable[str], *, all_namespaces: bool = False) -> Found:
    """Judge deployments of a cluster by the records that it has.

    Args:
        connection: The cluster, with the namespace asked for.
        names: Which deployments of the namespace; none for all of them.
        all_namespaces: Whether to take those of every namespace.

    Raises:
        ClusterError: If a named deployment does not exist, or llama-operator is not installed.
    """
    namespace = None if all_namespaces else connection.namespace
    live = [
        await get_or_explain(connection.cluster, Ref(kinds.LLAMA_DEPLOYMENT, connection.namespace, name))
        for name in names
    ] or (await list_or_explain(connection.cluster, kinds.LLAMA_DEPLOYMENT, namespace)).items
    records = await license_records.read(connection.cluster)
    pinned = await facts_of(connection.cluster, kinds.CONTROLLER_REVISION, _pinned, namespace)
    revisions = () if isinstance(pinned, Unknown) else pinned
    # Without the right to see them the plan is made anew; its variant may be another one than that which runs.
    unknown = (*records.unknown, *((pinned.why,) if isinstance(pinned, Unknown) and not pinned.no_such_kind else ()))
    judged, invalid, known = [], [], catalog.load()
    for obj in live:
        try:
            deployment = parse_as(LlamaDeployment, obj)
        except InvalidManifestError as error:
            invalid.append(error)
            continue
        key = (deployment.metadata.namespace, deployment.metadata.name)
        observed = Observed(
            deployment,
            acceptances=records.acceptances,
            models=records.models,
            policies=records.policies,
            revisions=tuple(facts for owner, facts in revisions if owner == key),
            now=connection.now(),
        )
        judged.append(Judged(observed, decide(observed, known)))
    return Found(tuple(judged), tuple(invalid), unknown)


def _pinned(obj: Object) -> tuple[tuple[str, str], RevisionFacts] | None:
    facts = children.revision_facts(obj)
    owner: Any = (obj["metadata"].get("labels") or {}).get(LABEL_DEPLOYMENT)
    return None if facts is None or owner is None else ((obj["metadata"]["namespace"], owner), facts)
