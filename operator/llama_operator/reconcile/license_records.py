"""One pass over one license record: a LlamaModel, LicenseAcceptance or LicensePolicy. Called by `process`.

The operator changes nothing that an administrator wrote. It writes the status, and only if that changes. The status of these
records is evidence (since when an acceptance is named, say), so what a newer version wrote into it stays.
"""

import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from llama_operator.api import paths
from llama_operator.api.manifest import parse_live, unknown_fields
from llama_operator.api.readings import mapping, mappings, text
from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance, LicenseAcceptanceStatus
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicy, LicensePolicyStatus
from llama_operator.api.v1alpha1.llamamodel import LlamaModel, LlamaModelStatus
from llama_operator.catalog import Catalog
from llama_operator.errors import InvalidManifestError, NotUnderstoodError
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, Kind, KubeError, NotFoundError, Object, Ref
from llama_operator.observe.license_records import models_of, related_to
from llama_operator.observe.unreadable import Unreadable
from llama_operator.status import license_records
from llama_operator.status.license_records import AnyStatus, CopyInUse, Records, Use

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
        known = await _records(cluster, live, ref, catalog, moment, unreadable or Unreadable())
        status = _with_what_is_not_known(live, _status(live, ref, known))
    except NotUnderstoodError as error:
        status = license_records.not_understood(live, error, moment)
    except InvalidManifestError as error:
        # Only another manifest can cure it: there is nothing to try again.
        status = license_records.invalid(_STATUS[ref.kind], live, error, now=moment).to_api()
    except KubeError:
        raise
    except Exception as error:
        await _write(cluster, live, license_records.failed(_STATUS[ref.kind], live, error, now=moment).to_api())
        raise
    await _write(cluster, live, status)
    # Dates mean days, and a day begins at midnight.
    tomorrow = (moment + timedelta(days=1)).replace(hour=0, minute=0, second=0)
    return (tomorrow - moment).total_seconds() if ref.kind == kinds.LICENSE_ACCEPTANCE else None


async def _write(cluster: Cluster, live: Object, status: Object) -> None:
    if status != live.get("status"):
        with contextlib.suppress(NotFoundError):
            await cluster.apply_status(kinds.identity(live) | {"status": status})


async def _records(
    cluster: Cluster, live: Object, ref: Ref, catalog: Catalog, moment: datetime, unreadable: Unreadable
) -> Records:
    return Records(
        catalog=catalog,
        models=(await models_of(cluster, unreadable)).read,
        acceptances=await _names(cluster) if ref.kind == kinds.LICENSE_POLICY else (),
        uses=await _uses(cluster) if ref.kind == kinds.LICENSE_ACCEPTANCE else (),
        now=moment,
        related=await related_to(cluster, live, unreadable) if ref.kind == kinds.LICENSE_ACCEPTANCE else (),
    )


def _status(live: Object, ref: Ref, records: Records) -> AnyStatus:
    if ref.kind == kinds.LLAMA_MODEL:
        return license_records.of_model(parse_live(LlamaModel, live), records)
    if ref.kind == kinds.LICENSE_ACCEPTANCE:
        return license_records.of_acceptance(parse_live(LicenseAcceptance, live), records)
    return license_records.of_policy(parse_live(LicensePolicy, live), records)


def _with_what_is_not_known(live: Object, status: AnyStatus) -> Object:
    """The status with the fields that a newer version wrote; conditions are those of this pass."""
    before = live.get("status")
    beyond = unknown_fields(type(status), before) if isinstance(before, dict) else {}
    kept: Object = paths.merged(beyond, status.to_api())
    return kept


async def _names(cluster: Cluster) -> tuple[str, ...]:
    """Names of all acceptances, which are not parsed for that: there may be a thousand."""
    return tuple(item["metadata"]["name"] for item in (await cluster.list(kinds.LICENSE_ACCEPTANCE)).items)


async def _uses(cluster: Cluster) -> tuple[Use, ...]:
    """Which deployment names which acceptance; their other fields are not parsed for that."""
    uses = []
    for item in (await cluster.list(kinds.LLAMA_DEPLOYMENT)).items:
        metadata, declared = item["metadata"], mapping(paths.at(item, "spec.license"))
        named = text(declared.get("acceptance"))
        guard = text(paths.at(item, "spec.guard.model.name")) or text(declared.get("guardModel"))
        models = (text(paths.at(item, "spec.model.name")), guard)
        if named:
            chosen = mapping(paths.at(item, "status.plan.chosen"))
            weights = text(chosen.get("repository")) or text(chosen.get("model"))
            deployment = f"{metadata['namespace']}/{metadata['name']}"
            copies = tuple(map(_copy, mappings(paths.at(item, "status.weights"))))
            uses.append(Use(named, deployment, weights, tuple(model for model in models if model), copies))
    return tuple(uses)


def _copy(entry: Mapping[str, Any]) -> CopyInUse:
    """An entry of `status.weights`."""
    erased = text(entry.get("state")) == Reason.ERASED
    return CopyInUse(text(entry.get("claim")), erased, text(entry.get("message")))
