"""All incidents, in the order in which a report shows them. Called by `__main__`, `generate` and the tests."""

from typing import Final

from gameday.incident import Incident
from gameday.incidents import engines, files, kubelets, licenses, nodes, objects, pods, processes, rollouts, writes

INCIDENTS: Final[tuple[Incident, ...]] = (
    *engines.INCIDENTS,
    *nodes.INCIDENTS,
    *pods.INCIDENTS,
    *writes.INCIDENTS,
    *objects.INCIDENTS,
    *rollouts.INCIDENTS,
    *licenses.INCIDENTS,
    *files.INCIDENTS,
    *processes.INCIDENTS,
    *kubelets.INCIDENTS,
)
