"""Makes a case for the license chain from what was observed. Pure; called by `decide.decision`."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta

from llama_operator.api.v1alpha1.access import AccessMode
from llama_operator.api.v1alpha1.adapters import AdapterSpec
from llama_operator.api.v1alpha1.licenseacceptance import AcceptanceState
from llama_operator.api.v1alpha1.llamadeployment import LicenseSpec, LlamaDeploymentSpec
from llama_operator.catalog import Catalog, UnknownLicenseError
from llama_operator.catalog.models import Variant
from llama_operator.decide.access import Door
from llama_operator.decide.bounds import most_replicas
from llama_operator.decide.license.facts import AdapterFacts, LicenseInput, ModelFacts, ended_on, leading
from llama_operator.decide.license.lineage import Lineages, lineages
from llama_operator.decide.observed import LONG_AGO, LicenseEnd, Observed, RevisionFacts
from llama_serving.config import RequestPath
from llama_serving.contract.door import Access
from llama_serving.contract.guard import GuardMode

_DAY_ENDS_LAST = timedelta(hours=12)
"""How long after UTC a day ends where it ends last."""
_CPU = "CPU"
"""Name of the accelerator that is none."""


def gpus_of(ranks: int, accelerator: str) -> int:
    """Accelerators that a replica of `ranks` ranks takes: none on a CPU."""
    return 0 if accelerator == _CPU else ranks


def license_input(
    observed: Observed,
    catalog: Catalog,
    model: str,
    variant: Variant | None,
    gpus_per_replica: int | None,
    *,
    door: Door | None = None,
    pinned_guard: str | None = None,
    guard_gpus: int = 0,
) -> LicenseInput:
    """Gather everything that the license of `model` depends on.

    Args:
        observed: What was read of the deployment and of the cluster.
        catalog: The built-in catalog; LlamaModels of `observed` are added to it.
        model: Catalog entry or LlamaModel that is deployed.
        variant: Copy of it that is chosen; None if there is none yet.
        gpus_per_replica: Accelerators of one replica; None if there is no plan yet.
        door: That of the revision that is judged; None for one that is not made yet: `Auto` asks for keys then, where they are
            required.
        pinned_guard: Guard of the revision that is judged, empty if it has none; None for one that is not made yet.
        guard_gpus: Accelerators of all replicas of the guard.
    """
    spec, metadata = observed.deployment.spec, observed.deployment.metadata
    known = lineages(catalog, observed.models)
    replicas = most_replicas(spec)
    facts = known.resolve(model, variant)
    guard = guard_of(spec) if pinned_guard is None else pinned_guard or spec.license.guard_model
    dated = observed.now != LONG_AGO
    return LicenseInput(
        model=facts,
        license=spec.license,
        namespace=metadata.namespace,
        acceptances=observed.acceptances,
        policies=observed.policies or (),
        adapters=tuple(_adapters(spec.adapters, facts, catalog)),
        guard=None if guard is None else known.resolve(guard),
        guard_blocks=_blocks(spec),
        labels=metadata.labels,
        trained=_trained(spec.license, known),
        most_gpus=None if gpus_per_replica is None else gpus_per_replica * replicas + guard_gpus,
        most_replicas=replicas,
        ends=tuple(pinned.license_end for pinned in observed.revisions if pinned.license_end is not None),
        own_ends=tuple(_own_ends(observed, facts, known)),
        open_to_all=spec.access.mode is AccessMode.OPEN if door is None else door.access is Access.OPEN,
        aliases=spec.endpoint.aliases,
        uncounted=(spec.endpoint.path if door is None else door.path) is not RequestPath.DIRECT,
        image=spec.image or "",
        today=observed.now.date() if dated else None,
        still_today=(observed.now - _DAY_ENDS_LAST).date() if dated else None,
        unread=observed.unread_records,
    )


def guard_of(spec: LlamaDeploymentSpec) -> str | None:
    """Name of the model that screens requests and answers: the one that runs beside the model, or the one that is declared."""
    return spec.license.guard_model if spec.guard is None else spec.guard.model.name


def _blocks(spec: LlamaDeploymentSpec) -> bool:
    """Whether what the guard calls unsafe is kept back, as far as that is known: of a guard elsewhere it is not."""
    return spec.guard is None or spec.guard.mode is GuardMode.BLOCK


def _own_ends(observed: Observed, model: ModelFacts, known: Lineages) -> Iterator[LicenseEnd]:
    """Ends under which the model ran here, remembered or due, each with the families that it was under then.

    The same files under another name are the same model.
    """
    for pinned in observed.revisions:
        end = pinned.license_end or _due(observed, pinned)
        families = tuple(family for family in pinned.families if end is not None and family in end.families)
        if end is None or not families:
            continue
        if pinned.model == model.name or (model.digest and known.resolve(pinned.model).digest == model.digest):
            yield replace(end, families=families)


def _due(observed: Observed, pinned: RevisionFacts) -> LicenseEnd | None:
    """The end of a revision whose acceptance is terminated, before it is remembered."""
    named = pinned.license.acceptance if pinned.license else None
    record = leading(observed.acceptances or (), named)
    if record is None or record.spec.state is not AcceptanceState.TERMINATED:
        return None
    on = ended_on(record) or observed.now.date().isoformat()
    return LicenseEnd(record.metadata.name, record.spec.legal_entity, tuple(record.spec.families), on, observed.now)


def _adapters(adapters: Iterable[AdapterSpec], model: ModelFacts, catalog: Catalog) -> Iterator[AdapterFacts]:
    for adapter in adapters:
        families, unknown = {family.id: family for family in model.families}, []
        for name in adapter.license_families:
            try:
                families[name] = catalog.license_family(name)
            except UnknownLicenseError:
                unknown.append(name)
        yield AdapterFacts(adapter.name, tuple(families.values()), tuple(unknown))


def _trained(spec: LicenseSpec, known: Lineages) -> tuple[ModelFacts, ...]:
    return tuple(known.resolve(known.called(name)) for name in spec.trained_models)
