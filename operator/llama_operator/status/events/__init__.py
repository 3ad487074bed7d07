"""Events of a LlamaDeployment: what the operator did in a pass, and what people should look at. Called by the reconcile.

    facts     -> what an event is, and its reasons
    deeds     -> what a pass did, also one that failed
    changes   -> how conditions changed
    whole     -> `events`: both, and what else the status says that it did not say before

An event follows from what was decided and done, and from how the status changed, so a pass that changes nothing has no events.
"""

from llama_operator.status.events.changes import changes
from llama_operator.status.events.deeds import Done, deeds, orphan_events, repair_events
from llama_operator.status.events.facts import CAUSES, FROM_CONDITIONS, EventFacts, EventReason
from llama_operator.status.events.whole import events

__all__ = [
    "CAUSES",
    "FROM_CONDITIONS",
    "Done",
    "EventFacts",
    "EventReason",
    "changes",
    "deeds",
    "events",
    "orphan_events",
    "repair_events",
]
