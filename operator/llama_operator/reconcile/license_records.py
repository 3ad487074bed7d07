"""One pass over one license record: LlamaModel, LicenseAcceptance or LicensePolicy. Called by `process`, beside `reconcile`.

The operator changes nothing that an administrator wrote: it writes the status, and only when that changes.
"""

import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta

from llama_operator.api.manifest import parse_as
from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance, LicenseAcceptanceStatus
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicy, LicensePolicyStatus
from llama_operator.api.v1alpha1.llamamodel import LlamaModel, LlamaModelStatus
from llama_operator.catalog import Catalog
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, NotFoundError, Object, Ref
from llama_operator.observe.license_records import models_of
from llama_operator.status import license_records
from llama_operator.status.license_records import Records, Use

AnyStatus = LlamaModelStatus | LicenseAcceptanceStatus | LicensePolicyStatus


async def comment(cluster: Cluster, ref: Ref, *, catalog: Catalog, now: Callable[[], datetime]) -> float | None:
    """Bring the status of the record at `ref` up to date; returns the seconds until a date may change it.

    Raises:
        InvalidManifestError: If the live record breaks a rule that the API server did not check.
        KubeError: If Kubernetes failed.
    """
    try:
        live = await cluster.get(ref)
    except NotFoundError:
        return None
    if live["metadata"].get("deletionTimestamp"):
        return None
    moment = now().replace(microsecond=0)
    found = Records(
        catalog=catalog,
        models=await models_of(cluster),
        acceptances=await _names(cluster) if ref.kind == kinds.LICENSE_POLICY else (),
        uses=await _uses(cluster) if ref.kind == kinds.LICENSE_ACCEPTANCE else (),
        now=moment,
    )
    status = _status(live, ref, found).to_api()
    if status != live.get("status"):
        named = {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": {"name": ref.name}}
        with contextlib.suppress(NotFoundError):
            await cluster.apply_status(named | {"status": status})
    # Dates mean days, and a day begins at midnight.
    tomorrow = (moment + timedelta(days=1)).replace(hour=0, minute=0, second=0)
    return (tomorrow - moment).total_seconds() if ref.kind == kinds.LICENSE_ACCEPTANCE else None


def _status(live: Object, ref: Ref, found: Records) -> AnyStatus:
    if ref.kind == kinds.LLAMA_MODEL:
        return license_records.of_model(parse_as(LlamaModel, live), found)
    if ref.kind == kinds.LICENSE_ACCEPTANCE:
        return license_records.of_acceptance(parse_as(LicenseAcceptance, live), found)
    return license_records.of_policy(parse_as(LicensePolicy, live), found)


async def _names(cluster: Cluster) -> tuple[str, ...]:
    """Names of all acceptances; a thousand of them need not be understood for that."""
    return tuple(item["metadata"]["name"] for item in (await cluster.list(kinds.LICENSE_ACCEPTANCE)).items)


async def _uses(cluster: Cluster) -> tuple[Use, ...]:
    """Who names which acceptance; the rest of the deployments need not be understood for that."""
    found = []
    for item in (await cluster.list(kinds.LLAMA_DEPLOYMENT)).items:
        metadata, spec = item["metadata"], item.get("spec") or {}
        named = (spec.get("license") or {}).get("acceptance")
        if named:
            chosen = ((item.get("status") or {}).get("plan") or {}).get("chosen") or {}
            weights = chosen.get("repository") or chosen.get("model") or ""
            found.append(Use(named, f"{metadata['namespace']}/{metadata['name']}", weights))
    return tuple(found)
