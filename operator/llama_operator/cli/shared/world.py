"""What a decision about a manifest would rest on in a live cluster. Called by `diff`, `rollback`, `license`, `plan --cluster`.

The world is the operator's own: `observe.gather` reads it for both. Only the rights are those of the user.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from llama_operator import catalog
from llama_operator.api.manifest import parse_as, parse_live
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicy
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.api.v1alpha1.llamamodel import LlamaModel
from llama_operator.cli.shared import changes, files
from llama_operator.cli.shared.connection import Connection, missing_right
from llama_operator.decide.observed import Observed, Unread
from llama_operator.errors import InvalidManifestError
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, Object
from llama_operator.observe.gather import Observer
from llama_operator.observe.rights import Lenient
from llama_operator.observe.serving import NoServingReader

T = TypeVar("T", bound=LicenseAcceptance | LlamaModel | LicensePolicy)

_REPLICAS = "replicas"
_RUNNING = frozenset({kinds.RAY_SERVICE.plural, kinds.CONTROLLER_REVISION.plural, kinds.SERVICE.plural, _REPLICAS})
"""What of the world tells what runs."""


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
        problem, subject = f"is {named}, and -n says {asked}", f"LlamaDeployment {written['metadata']['name']}"
        raise InvalidManifestError.of(subject, "metadata.namespace", problem, "leave one of them out")
    return named or asked or default


def after_apply(written: Object, live: Object | None, namespace: str) -> LlamaDeployment:
    """The deployment as it would be after `kubectl apply` of `written` over `live`."""
    if live is None:
        return parse_as(LlamaDeployment, written | {"metadata": written["metadata"] | {"namespace": namespace}})
    return parse_live(LlamaDeployment, live | {"spec": changes.after_apply(live, written)})


async def observed_with(
    connection: Connection,
    deployment: LlamaDeployment,
    beside: files.Manifests | None = None,
    *,
    reads: Cluster | None = None,
    rollout: bool = True,
    pods: bool = False,
) -> Observed:
    """Read the world of `deployment` as it is, or as it would be once it is applied.

    Args:
        connection: The cluster.
        deployment: Its spec need not be applied yet.
        beside: Files whose license records, models, policies and Accelerators go before those of the cluster.
        reads: Where to read, if not from the cluster of `connection`.
        rollout: Whether it matters how a rollout would go: what the Hub said, and which accelerators are free.
        pods: Whether it matters why pods do not run.
    """
    observer = Observer(
        reads or connection.cluster,
        catalog.load(),
        NoServingReader(),
        platform=await connection.platform(),
        declared=() if beside is None else beside.accelerators,
        checks_access=rollout and _checks_access(deployment),
        counts_free=rollout,
        looks_at_pods=pods,
        rights=Lenient(missing_right),
    )
    observed = await observer.around(deployment, connection.now().replace(microsecond=0))
    observed = replace(observed, unknown=(*observed.unknown, *_not_asked(observed)))
    if beside is None:
        return observed
    return replace(
        observed,
        acceptances=_together(beside.acceptances, observed.acceptances),
        models=_together(beside.models, observed.models),
        policies=_together(beside.policies, observed.policies),
    )


def unseen(observed: Observed) -> tuple[str, ...]:
    """Return why it is not known what runs; empty if it is."""
    return whys(part for part in observed.unknown if part.kind in _RUNNING)


def whys(unknown: Iterable[Unread]) -> tuple[str, ...]:
    """Return the reasons, each once."""
    return tuple(dict.fromkeys(part.why for part in unknown))


def _checks_access(deployment: LlamaDeployment) -> bool:
    """Whether the operator checks access to weights: it does, unless it says about this deployment that it does not."""
    conditions = deployment.status.conditions if deployment.status else ()
    return not any(
        condition.type == ConditionType.WEIGHTS_ACCESSIBLE and condition.reason == Reason.ACCESS_NOT_CHECKED
        for condition in conditions
    )


def _not_asked(observed: Observed) -> tuple[Unread, ...]:
    """What only the serving pods know: whether replicas are left while Serve deploys an application again.

    The operator asks the pods. If its last answer was that replicas are ready, Serve keeps them while it deploys.
    """
    status = observed.deployment.status
    if status is not None and status.ready_replicas > 0:
        return ()
    return tuple(
        Unread(_REPLICAS, f"only the operator can ask the pods of {service.name} whether replicas are left")
        for service in observed.ray_services
        if service.serves and service.application_status == "DEPLOYING"
    )


def _together(beside: tuple[T, ...], live: tuple[T, ...] | None) -> tuple[T, ...] | None:
    """Records as they would be; None when they may not be read and the files have none either."""
    if live is None:
        return beside or None
    names = {record.metadata.name for record in beside}
    return (*beside, *(record for record in live if record.metadata.name not in names))
