"""Reads from a cluster what license decisions rest on, with the rights of whoever asks. Called by `diff` and `license`."""

from dataclasses import dataclass

from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicy
from llama_operator.api.v1alpha1.llamamodel import LlamaModel
from llama_operator.cli.shared.connection import Unknown, readable
from llama_operator.kube.port import Cluster
from llama_operator.observe.gather import acceptances_of, models_of, policies_of


@dataclass(frozen=True, slots=True)
class Records:
    """Records of a cluster; None for those that may not be read.

    Attributes:
        unknown: Why something may not be read.
    """

    acceptances: tuple[LicenseAcceptance, ...] | None
    models: tuple[LlamaModel, ...] | None
    policies: tuple[LicensePolicy, ...] | None
    unknown: tuple[str, ...]


async def read(cluster: Cluster) -> Records:
    """Read all of them."""
    acceptances = await readable(acceptances_of(cluster))
    models = await readable(models_of(cluster))
    policies = await readable(policies_of(cluster))
    return Records(
        None if isinstance(acceptances, Unknown) else acceptances,
        None if isinstance(models, Unknown) else models,
        None if isinstance(policies, Unknown) else policies,
        tuple(found.why for found in (acceptances, models, policies) if isinstance(found, Unknown)),
    )
