"""Whether the engines of a revision are too old to count as ready. Pure; called by `status.conditions`.

What the pods check of a model's folder rests on how vLLM loads it, so an older one is not trusted to hold it. Traffic is
left alone: the condition says what is wrong, and `Ready` follows it.
"""

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.decide.observed import Observed
from llama_serving.config import LEAST_ENGINE_VERSION
from llama_serving.contract.status import version_key


def too_old(observed: Observed, revision: str) -> str | None:
    """Return why the engines of `revision` do not count; None if they do, or if no pod has ever told its version."""
    serving = observed.serving
    told = serving.engine_version if serving is not None and serving.identity.revision == revision else None
    if told is None:
        # No pod answers at this moment: what is known of this revision stays.
        return _told_before(observed, revision)
    if version_key(told) >= version_key(LEAST_ENGINE_VERSION):
        return None
    return (
        f"the pods of revision {revision} run vLLM {told}, and {LEAST_ENGINE_VERSION} or newer is needed: take a newer image "
        "(spec.image, or leave it out for the operator's own)"
    )


def _told_before(observed: Observed, revision: str) -> str | None:
    status = observed.deployment.status
    if status is None or not revision:
        return None
    return next(
        (
            condition.message
            for condition in status.conditions
            if condition.type == ConditionType.MODEL_LOADED
            and condition.reason == Reason.ENGINE_TOO_OLD
            and f"revision {revision} " in condition.message
        ),
        None,
    )
