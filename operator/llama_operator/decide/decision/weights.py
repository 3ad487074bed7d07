"""The weights of a revision that is about to be made: may they be read, and which copies of them are needed. Called by `decide.decision.wanted`."""

from dataclasses import replace

from llama_operator.api.v1alpha1.adapters import repository_of
from llama_operator.catalog.models import Variant
from llama_operator.decide.access_check import check_access_to_all, seen_commit
from llama_operator.decide.copies.needed import Wanted, downloaded, known_without_asking, needed
from llama_operator.decide.copies.source import Copy, Role
from llama_operator.decide.decision.decided import Decision
from llama_operator.decide.decision.hardware import idle
from llama_operator.decide.observed import Observed
from llama_operator.decide.problem import Problem
from llama_operator.decide.weights.copying import already_there, check_copies


def with_access_check(decision: Decision, observed: Observed, variant: Variant | None) -> Decision:
    """Ask for access to the weights of a revision that is about to be made."""
    if decision.problem is not None or decision.model is None or variant is None or idle(observed):
        return decision
    variants = (
        downloaded(observed.deployment, variant),
        *(() if decision.guard is None else (decision.guard.best.variant,)),
    )
    adapters = tuple(filter(None, map(repository_of, observed.deployment.spec.adapters)))
    known = known_without_asking(observed.deployment, variants, adapters)
    there = already_there(observed, known, decision.revision.name)
    found = check_access_to_all(observed, decision.revision.name, variants, adapters, there)
    return replace(decision, access_check=found, problem=found.problem)


def with_copies(decision: Decision, observed: Observed, variant: Variant | None) -> Decision:
    """Ask for copies of the weights of a revision that is about to be made, once they may be downloaded."""
    access, chosen = decision.access_check, decision.chosen
    if access is None or not access.passed or variant is None or chosen is None or decision.problem is not None:
        return decision
    revision = decision.revision.name
    wanted = [Wanted(Role.MODEL, variant, seen_commit(observed, revision, variant))]
    nodes = chosen.nodes_per_replica
    if decision.guard is not None:
        own = decision.guard.best.variant
        wanted.append(Wanted(Role.GUARD, own, seen_commit(observed, revision, own)))
        nodes = max(nodes, decision.guard.chosen.nodes_per_replica)
    adapters = filter(None, map(repository_of, observed.deployment.spec.adapters))
    copies = needed(observed.deployment, wanted, adapters, nodes, observed.platform)
    if isinstance(copies, Problem):
        return replace(decision, problem=copies)
    return copied(decision, observed, copies)


def copied(decision: Decision, observed: Observed, copies: tuple[Copy, ...]) -> Decision:
    """Add how far `copies` are, and what is in their way."""
    copying = check_copies(observed, copies, decision.revision.name)
    runs = any(one.name == decision.revision.name for one in observed.ray_services)
    # What runs has read its weights already.
    return replace(decision, copying=copying, problem=None if copying is None or runs else copying.problem)
