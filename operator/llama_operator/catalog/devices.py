"""Which accelerators a node offers, and under which resource. Called by `observe`, `doctor` and the handlers, through `Catalog`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from llama_operator.catalog.accelerators import Accelerator, identify


@dataclass(frozen=True, slots=True)
class Devices:
    """Accelerators of a node.

    Attributes:
        accelerator: The card; None for accelerators that nothing is planned on.
        resource: Kubernetes resource that pods ask for.
        problem: Why nothing is planned on them, for people: the product, the resource and the label that is missing or not
            known; empty if they are planned on.
    """

    accelerator: Accelerator | None
    resource: str
    problem: str = ""


def devices_of(
    labels: Mapping[str, str], resources: Iterable[str], accelerators: Iterable[Accelerator]
) -> Devices | None:
    """Return the accelerators of a node; None for one that has none and is only a CPU.

    Args:
        labels: Labels of the Node.
        resources: Names of the resources that it has more than none of.
        accelerators: Accelerators to choose from.
    """
    card = identify(labels, accelerators)
    return None if card is None else Devices(card, card.resource_name)
