"""What the engines of a RayService say about themselves. Called by `decide.diagnosis`, `decide.rollout` and `status.conditions`."""

import re
from typing import Final

from llama_operator.decide.observed import RayServiceFacts
from llama_serving.config import CHECKPOINT_REFUSED, LICENSE_FILES_MISSING

ENGINE_FAILED: Final = frozenset({"DEPLOY_FAILED", "UNHEALTHY"})
"""Serve's words for an application that will not serve by waiting."""

_REFUSAL = re.compile(rf"\b(?:{LICENSE_FILES_MISSING}|{CHECKPOINT_REFUSED}): [^\n]+")


def engine_message(service: RayServiceFacts) -> str:
    """Return what Serve says about the application and its deployments, each sentence once; only the refusal if there is one.

    Serve wraps what an engine raised into several traces, and tells it of the application and of the deployment. Empty when
    Serve says nothing.
    """
    if told := refusal(service):
        return told
    said = [service.application_message.strip()] if service.application_message.strip() else []
    # The others only wait for it.
    failed = [part for part in service.deployments if part.status in ENGINE_FAILED]
    for part in failed or service.deployments:
        message = part.message.strip()
        if message and not any(message in one for one in said):
            said.append(f"{part.name}: {message}")
    return " ".join(said)


def refusal(service: RayServiceFacts) -> str:
    """Return the sentence with which an engine refused to start on the model's folder; empty if none did."""
    for message in (service.application_message, *(part.message for part in service.deployments)):
        refusals = _REFUSAL.findall(message)
        if refusals:
            return str(refusals[-1]).strip()
    return ""
