"""Makes a case for the license chain from what was observed. Pure; called by `decide.decision`."""

from llama_operator.api.v1alpha1.llamadeployment import LicenseSpec
from llama_operator.catalog import Catalog
from llama_operator.catalog.models import Variant
from llama_operator.decide.bounds import most_replicas
from llama_operator.decide.license.facts import LicenseInput, ModelFacts
from llama_operator.decide.license.lineage import Lineages
from llama_operator.decide.observed import LONG_AGO, Observed

_CPU = "CPU"
"""Name of the accelerator that is none."""


def gpus_of(ranks: int, accelerator: str) -> int:
    """Accelerators that a replica of `ranks` ranks takes: none on a CPU."""
    return 0 if accelerator == _CPU else ranks


def license_input(
    observed: Observed, catalog: Catalog, model: str, variant: Variant | None, gpus_per_replica: int | None
) -> LicenseInput:
    """Gather everything that the license of `model` depends on.

    Args:
        observed: What was read of the deployment and of the cluster.
        catalog: The built-in catalog; LlamaModels of `observed` are added to it.
        model: Catalog entry or LlamaModel that is deployed.
        variant: Copy of it that is chosen; None if there is none yet.
        gpus_per_replica: Accelerators of one replica; None if there is no plan yet.
    """
    spec, metadata = observed.deployment.spec, observed.deployment.metadata
    lineages = Lineages(catalog, observed.models)
    replicas = most_replicas(spec)
    return LicenseInput(
        model=lineages.resolve(model, variant),
        license=spec.license,
        namespace=metadata.namespace,
        acceptances=observed.acceptances,
        policies=observed.policies or (),
        guard=None if spec.license.guard_model is None else lineages.resolve(spec.license.guard_model),
        labels=metadata.labels,
        trained=_trained(spec.license, lineages),
        most_gpus=None if gpus_per_replica is None else gpus_per_replica * replicas,
        most_replicas=replicas,
        ends=tuple(pinned.license_end for pinned in observed.revisions if pinned.license_end is not None),
        image=spec.image or "",
        today=None if observed.now == LONG_AGO else observed.now.date(),
    )


def _trained(spec: LicenseSpec, lineages: Lineages) -> tuple[ModelFacts, ...]:
    return tuple(lineages.resolve(lineages.called(name)) for name in spec.trained_models)
