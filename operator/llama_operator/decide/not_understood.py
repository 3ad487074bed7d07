"""What a newer version wrote and this one cannot read, as a problem that changes nothing of what runs. Pure.

Called by `decide.decision`. License records that cannot be read are told by the license chain (`decide.license.chain`).
"""

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.decide.observed import Observed
from llama_operator.decide.problem import Problem


def unread_revision(observed: Observed, wanted: str) -> Problem | None:
    """The problem that the record of a revision cannot be read, if it is asked for, in the cluster, or has the traffic.

    Nothing is planned over it, and no other revision takes its place: it could not be gone back to.

    Args:
        observed: What is known.
        wanted: Revision that the spec asks for.
    """
    here = {wanted, *(service.name for service in observed.ray_services)}
    if observed.traffic is not None:
        here.add(observed.traffic.revision)
    unread = next((record for record in observed.unread_revisions if record.name in here), None)
    if unread is None:
        return None
    text = f"this version of the operator cannot read how revision {unread.name} is pinned: {unread.why}; what runs goes on"
    return Problem(ConditionType.PLANNED, Reason.NOT_UNDERSTOOD, text)


def unread_model(observed: Observed, problem: Problem, name: str) -> Problem:
    """`problem` with the model `name`, or that the LlamaModel behind it is not understood."""
    for record in observed.unread_records:
        if record.kind == "LlamaModel" and (record.name == name or f" {record.name} " in f" {problem.message} "):
            text = (
                f"this version of the operator does not understand LlamaModel {record.name}: {record.why}; upgrade it; "
                "what runs goes on"
            )
            return Problem(problem.condition, Reason.NOT_UNDERSTOOD, text, problem.field)
    return problem
