"""`kubectl llama diff`: what applying a manifest would change, and whether engines restart for it."""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from llama_operator import catalog
from llama_operator.api.manifest import parse_as
from llama_operator.api.meta import LABEL_DEPLOYMENT
from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicy
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan
from llama_operator.api.v1alpha1.llamamodel import LlamaModel
from llama_operator.cli.diff import effect as diff_effect
from llama_operator.cli.plan.command import exit_code, raise_if_invalid
from llama_operator.cli.shared import changes, files, license_records, output
from llama_operator.cli.shared.changes import Change
from llama_operator.cli.shared.connection import Connection, Unknown, facts_of, known_or, list_or_explain, readable
from llama_operator.cli.shared.exit_codes import EXIT_OK
from llama_operator.decide.decision import Decision, decide
from llama_operator.decide.observed import Observed
from llama_operator.decide.rollout import strategy
from llama_operator.decide.rollout.revision import revision_of
from llama_operator.errors import FieldProblem, InvalidManifestError
from llama_operator.kube import kinds
from llama_operator.kube.port import Object
from llama_operator.observe import children
from llama_operator.observe.gather import free_accelerators, node_facts

T = TypeVar("T", bound=LicenseAcceptance | LlamaModel | LicensePolicy)


@dataclass(frozen=True, slots=True)
class Difference:
    """What applying would do."""

    before: LlamaDeployment | None
    """The live object; None if there is none yet."""
    after: LlamaDeployment
    changed: tuple[Change, ...]
    observed: Observed
    """The world with the spec as it would be."""
    unknown: tuple[str, ...]
    """What of that world may not be read."""
    decision: Decision

    @property
    def running(self) -> ChosenPlan | None:
        """The plan of what runs now."""
        status = self.before.status if self.before else None
        return status.plan.chosen if status and status.plan else None

    @property
    def effect(self) -> str:
        """What would happen, in one sentence."""
        return diff_effect.effect(self.before, self.changed, self.observed, self.decision, seen=not self.unknown)


async def command(
    connection: Connection, paths: list[str], *, name: str | None, asked: str | None, as_json: bool
) -> int:
    """Compare the manifest in `paths` with the live object; returns the exit code.

    Args:
        connection: The cluster.
        paths: Files.
        name: Which deployment of the files; None for the only one.
        asked: Namespace of the command line; None if it names none.
        as_json: Whether to print JSON.
    """
    manifests = files.read(paths, name=name)
    found = await _compare(connection, manifests, asked)
    raise_if_invalid(found.decision, found.after.metadata.name)
    if as_json:
        output.print_json(document(found))
    else:
        from llama_operator.cli.diff import table as diff_table

        diff_table.show(output.console(), found)
    return EXIT_OK if found.before and not found.changed else exit_code(found.decision)


def document(found: Difference) -> dict[str, Any]:
    """The difference as JSON; a stable interface, documented in docs/cli.md."""
    decision, metadata = found.decision, found.after.metadata
    record = found.observed.record(decision.revision.name)
    chosen = decision.chosen
    rollout, problem = decision.rollout, decision.problem
    return {
        "namespace": metadata.namespace,
        "name": metadata.name,
        "exists": found.before is not None,
        "changes": [change.to_json() for change in found.changed],
        "revision": {
            "name": decision.revision.name,
            "running": revision_of(found.before).name if found.before else "",
            "exists": None if found.unknown else record is not None,
            "number": record.number if record else None,
        },
        "plan": {
            "running": found.running.to_api() if found.running else None,
            "new": chosen.to_api() if chosen else None,
        },
        "strategy": {"name": str(rollout.strategy.kind), "reason": rollout.strategy.reason} if rollout else None,
        "effect": found.effect,
        "unknown": list(found.unknown),
        "problem": None
        if problem is None
        else {
            "condition": problem.condition,
            "field": problem.field,
            "reason": problem.reason,
            "message": problem.message,
        },
    }


async def _compare(connection: Connection, manifests: files.Manifests, asked: str | None) -> Difference:
    written = next(obj for obj in manifests.objects if obj.get("kind") == kinds.LLAMA_DEPLOYMENT.kind)
    name = manifests.deployment.metadata.name
    namespace = _namespace(written, connection.namespace, asked)
    listing = await list_or_explain(connection.cluster, kinds.LLAMA_DEPLOYMENT, namespace)
    live = next((item for item in listing.items if item["metadata"]["name"] == name), None)
    before = None if live is None else parse_as(LlamaDeployment, live)
    after = _after(written, live, namespace)
    observed, unknown = await world_with(connection, after, manifests)
    return Difference(
        before=before,
        after=after,
        changed=changes.between(before.spec if before else None, after.spec),
        observed=observed,
        unknown=unknown,
        decision=decide(observed, catalog.load()),
    )


def in_namespace(manifests: files.Manifests, default: str, asked: str | None) -> LlamaDeployment:
    """The deployment of the files in the namespace that it would get; used by `cli.plan.command`.

    Args:
        manifests: The files.
        default: Namespace where neither the file nor the command line names one.
        asked: Namespace of the command line.

    Raises:
        InvalidManifestError: If the file and the command line name different ones.
    """
    written = next(obj for obj in manifests.objects if obj.get("kind") == kinds.LLAMA_DEPLOYMENT.kind)
    return _after(written, None, _namespace(written, default, asked))


def _namespace(written: Object, default: str, asked: str | None) -> str:
    named: str | None = (written.get("metadata") or {}).get("namespace")
    if named is not None and asked is not None and named != asked:
        problem = FieldProblem("metadata.namespace", f"is {named}, and -n says {asked}", "leave one of them out")
        raise InvalidManifestError(f"LlamaDeployment {written['metadata']['name']}", [problem])
    return named or asked or default


def _after(written: Object, live: Object | None, namespace: str) -> LlamaDeployment:
    if live is None:
        return parse_as(LlamaDeployment, written | {"metadata": written["metadata"] | {"namespace": namespace}})
    return parse_as(LlamaDeployment, live | {"spec": changes.after_apply(live, written)})


async def world_with(
    connection: Connection, after: LlamaDeployment, beside: files.Manifests | None
) -> tuple[Observed, tuple[str, ...]]:
    """Read what a decision about `after` rests on, and what of what runs may not be read; also used by `cli.rollback.command`.

    Records of licenses, models and policies in `beside` go before those of the cluster.
    """
    cluster, known, metadata = connection.cluster, catalog.load(), after.metadata
    namespace, own = metadata.namespace, {LABEL_DEPLOYMENT: metadata.name}
    records = await license_records.read(cluster)
    nodes = known_or(await facts_of(cluster, kinds.NODE, lambda item: item), None)
    services = await facts_of(cluster, kinds.RAY_SERVICE, children.ray_service_facts, namespace, own)
    pinned = await facts_of(cluster, kinds.CONTROLLER_REVISION, children.revision_facts, namespace, own)
    unknown = tuple(found.why for found in (services, pinned) if isinstance(found, Unknown) and not found.no_such_kind)
    observed = Observed(
        deployment=after,
        acceptances=_together(beside.acceptances if beside else (), records.acceptances),
        models=_together(beside.models if beside else (), records.models),
        policies=_together(beside.policies if beside else (), records.policies),
        nodes=None
        if nodes is None
        else tuple(facts for item in nodes if (facts := node_facts(item, known)) is not None),
        ray_services=known_or(services, ()),
        revisions=known_or(pinned, ()),
        now=connection.now(),
    )
    if nodes is None or not strategy.needs_count(observed, revision_of(after).name):
        return observed, unknown
    free = await readable(free_accelerators(cluster, nodes, known))
    return (observed if isinstance(free, Unknown) else replace(observed, free=free)), unknown


def _together(beside: tuple[T, ...], live: tuple[T, ...] | None) -> tuple[T, ...] | None:
    """Records as they would be; None when nobody could look and the files have none either."""
    if live is None:
        return beside or None
    names = {record.metadata.name for record in beside}
    return (*beside, *(record for record in live if record.metadata.name not in names))
