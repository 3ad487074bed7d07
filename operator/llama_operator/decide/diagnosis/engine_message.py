"""What the engines of a RayService say about themselves. Called by `decide.diagnosis`, `decide.rollout` and `status.conditions`."""

import re

from llama_operator.decide.observed import RayServiceFacts
from llama_serving.config import CHECKPOINT_REFUSED, LICENSE_FILES_MISSING

_REFUSAL = re.compile(rf"\b(?:{LICENSE_FILES_MISSING}|{CHECKPOINT_REFUSED}): [^\n]+")


def engine_message(service: RayServiceFacts) -> str:
    """Return what Serve says about the application and its deployments; only the refusal if there is one.

    Serve wraps what an engine raised into several traces. Empty when Serve says nothing.
    """
    details = (f"{part.name}: {part.message}" for part in service.deployments if part.message)
    return refusal(service) or " ".join([service.application_message, *details]).strip()


def refusal(service: RayServiceFacts) -> str:
    """Return the sentence with which an engine refused to start on the model's folder; empty if none did."""
    for message in (service.application_message, *(part.message for part in service.deployments)):
        refusals = _REFUSAL.findall(message)
        if refusals:
            return str(refusals[-1]).strip()
    return ""
