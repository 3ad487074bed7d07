"""One pass over one license record: a LlamaModel, LicenseAcceptance or LicensePolicy. Called by `process`.

The operator changes nothing that an administrator wrote. It writes the status, and only if that changes.
"""

import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from llama_operator.api import paths
from llama_operator.api.readings import mapping, text
from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance, LicenseAcceptanceStatus
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicy, LicensePolicyStatus
from llama_operator.api.v1alpha1.llamamodel import LlamaModel, LlamaModelStatus
from llama_operator.catalog import Catalog
from llama_operator.errors import InvalidManifestError
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, Kind, KubeError, NotFoundError, Object, Ref
from llama_operator.observe.license_records import models_of, related_to
from llama_operator.observe.live import parsed
from llama_operator.observe.unreadable import Unreadable
from llama_operator.status import license_records
from llama_operator.status.license_records import AnyStatus, Records, Use

_STATUS: Mapping[Kind, type[AnyStatus]] = {
    kinds.LLAMA_MODEL: LlamaModelStatus,
    kinds.LICENSE_ACCEPTANCE: LicenseAcceptanceStatus,
    kinds.LICENSE_POLICY: LicensePolicyStatus,
}


async def reconcile_record(
    cluster: Cluster,
    ref: Ref,
    *,
    catalog: Catalog,
    now: Callable[[], datetime],
    unreadable: Unreadable | None = None,
) -> float | None:
    """Bring the status of a license record up to date.

    Args:
        cluster: Where the records are.
        ref: Address of the record, which may be gone.
        catalog: Models and license families.
        now: Time of the wall clock, in UTC.
        unreadable: Takes what cannot be read.

    Returns:
        Seconds until a date may change the status; None if only an event can.

    Raises:
        KubeError: If Kubernetes failed.
        Exception: If the operator has a defect; the status then says so.
    """
    try:
        live = await cluster.get(ref)
    except NotFoundError:
        return None
    if live["metadata"].get("deletionTimestamp"):
        return None
    moment = now().replace(microsecond=0)
    try:
        status = _status(live, ref, await _records(cluster, live, ref, catalog, moment, unreadable or Unreadable()))
    except InvalidManifestError as error:
        # Only another manifest can cure it: there is nothing to try again.
        status = license_records.invalid(_STATUS[ref.kind], live, error, now=moment)
    except KubeError:
        raise
    except Exception as error:
        await _write(cluster, live, license_records.failed(_STATUS[ref.kind], live, error, now=moment))
        raise
    await _write(cluster, live, status)
    # Dates mean days, and a day begins at midnight.
    tomorrow = (moment + timedelta(days=1)).replace(hour=0, minute=0, second=0)
    return (tomorrow - moment).total_seconds() if ref.kind == kinds.LICENSE_ACCEPTANCE else None


async def _write(cluster: Cluster, live: Object, status: AnyStatus) -> None:
    written = status.to_api()
    if written != live.get("status"):
        with contextlib.suppress(NotFoundError):
            await cluster.apply_status(kinds.identity(live) | {"status": written})


async def _records(
    cluster: Cluster, live: Object, ref: Ref, catalog: Catalog, moment: datetime, unreadable: Unreadable
) -> Records:
    return Records(
        catalog=catalog,
        models=await models_of(cluster, unreadable),
        acceptances=await _names(cluster) if ref.kind == kinds.LICENSE_POLICY else (),
        uses=await _uses(cluster) if ref.kind == kinds.LICENSE_ACCEPTANCE else (),
        now=moment,
        related=await related_to(cluster, live, unreadable) if ref.kind == kinds.LICENSE_ACCEPTANCE else (),
    )


def _status(live: Object, ref: Ref, records: Records) -> AnyStatus:
    if ref.kind == kinds.LLAMA_MODEL:
        return license_records.of_model(parsed(LlamaModel, live), records)
    if ref.kind == kinds.LICENSE_ACCEPTANCE:
        return license_records.of_acceptance(parsed(LicenseAcceptance, live), records)
    return license_records.of_policy(parsed(LicensePolicy, live), records)


async def _names(cluster: Cluster) -> tuple[str, ...]:
    """Names of all acceptances, which are not parsed for that: there may be a thousand."""
    return tuple(item["metadata"]["name"] for item in (await cluster.list(kinds.LICENSE_ACCEPTANCE)).items)


async def _uses(cluster: Cluster) -> tuple[Use, ...]:
    """Which deployment names which acceptance; their other fields are not parsed for that."""
    uses = []
    for item in (await cluster.list(kinds.LLAMA_DEPLOYMENT)).items:
        metadata, declared = item["metadata"], mapping(paths.at(item, "spec.license"))
        named = text(declared.get("acceptance"))
        models = (text(paths.at(item, "spec.model.name")), text(declared.get("guardModel")))
        if named:
            chosen = mapping(paths.at(item, "status.plan.chosen"))
            weights = text(chosen.get("repository")) or text(chosen.get("model"))
            deployment = f"{metadata['namespace']}/{metadata['name']}"
            uses.append(Use(named, deployment, weights, tuple(model for model in models if model)))
    return tuple(uses)
