"""Why a revision does not serve, in one text for its record. Called by `decide.rollout.rollout` and `desired.revision`.

Its RayService and pods are deleted in the same pass: what is not taken from them now, nobody can learn any more.
"""

from llama_operator.decide.diagnosis.causes import causes
from llama_operator.decide.diagnosis.engine_message import engine_message
from llama_operator.decide.observed import Observed, RayServiceFacts


def why_not_serving(observed: Observed, service: RayServiceFacts) -> str:
    """Return the nearest cause; where none is known, the words of Serve or KubeRay; empty if nobody says anything."""
    nearest = next((cause.message for cause in causes(observed, service.name)), "")
    return nearest or engine_message(service) or service.message
