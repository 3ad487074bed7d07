"""What one reconcile knows: the input of every decision. Gathered by `observe`, built by hand in tests and by `plan`."""

from llama_operator.decide.observed.cluster import (
    NodeFacts,
    RayClusterFacts,
    RayServiceFacts,
    ServeDeploymentFacts,
    WorkerGroupFacts,
)
from llama_operator.decide.observed.events import (
    AccessCheckFacts,
    RepairFacts,
    Requester,
    TrafficFacts,
    Unread,
    UnreadRecord,
)
from llama_operator.decide.observed.revisions import (
    FORMAT_OF_HOSTS,
    RECORD_FORMAT,
    RECORD_FORMATS,
    LicenseEnd,
    RevisionFacts,
    UnreadRevision,
)
from llama_operator.decide.observed.settings import Settings
from llama_operator.decide.observed.times import CONFIRM_SECONDS, LONG_AGO, Age
from llama_operator.decide.observed.whole import Observed

__all__ = [
    "CONFIRM_SECONDS",
    "FORMAT_OF_HOSTS",
    "LONG_AGO",
    "RECORD_FORMAT",
    "RECORD_FORMATS",
    "AccessCheckFacts",
    "Age",
    "LicenseEnd",
    "NodeFacts",
    "Observed",
    "RayClusterFacts",
    "RayServiceFacts",
    "RepairFacts",
    "Requester",
    "RevisionFacts",
    "ServeDeploymentFacts",
    "Settings",
    "TrafficFacts",
    "Unread",
    "UnreadRecord",
    "UnreadRevision",
    "WorkerGroupFacts",
]
