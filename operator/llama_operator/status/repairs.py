"""What somebody did to an object of a deployment, in words. Called by `status.conditions` and `status.events`."""

from llama_operator.decide.observed import RepairFacts


def describe_repair(one: RepairFacts) -> str:
    """Say what was done: `Service chat was changed (spec.selector) by kubectl-edit`."""
    what = f"changed ({', '.join(one.fields)})" if one.fields else "deleted"
    return f"{one.kind} {one.name} was {what}" + (f" by {one.writer}" if one.writer and one.fields else "")
