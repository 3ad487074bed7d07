"""What a decision about a manifest would rest on in a live cluster. Called by `diff`, `rollback` and `plan --cluster`."""

from dataclasses import replace
from typing import TypeVar

from llama_operator import catalog
from llama_operator.api.manifest import parse_as
from llama_operator.api.meta import LABEL_DEPLOYMENT
from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicy
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.api.v1alpha1.llamamodel import LlamaModel
from llama_operator.cli.shared import changes, files, license_records
from llama_operator.cli.shared.connection import Connection, Unknown, facts_of, known_or, readable
from llama_operator.decide.observed import Observed
from llama_operator.decide.rollout import strategy
from llama_operator.decide.rollout.revision import revision_of
from llama_operator.errors import FieldProblem, InvalidManifestError
from llama_operator.kube import kinds
from llama_operator.kube.port import Object
from llama_operator.observe import children
from llama_operator.observe.gather import free_accelerators, node_facts

T = TypeVar("T", bound=LicenseAcceptance | LlamaModel | LicensePolicy)


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
    return after_apply(written, None, namespace_of(written, default, asked))


def namespace_of(written: Object, default: str, asked: str | None) -> str:
    """Namespace that the object of a file would get; see `in_namespace`."""
    named: str | None = (written.get("metadata") or {}).get("namespace")
    if named is not None and asked is not None and named != asked:
        problem = FieldProblem("metadata.namespace", f"is {named}, and -n says {asked}", "leave one of them out")
        raise InvalidManifestError(f"LlamaDeployment {written['metadata']['name']}", [problem])
    return named or asked or default


def after_apply(written: Object, live: Object | None, namespace: str) -> LlamaDeployment:
    """The deployment as it would be after `kubectl apply` of `written` over `live`."""
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
