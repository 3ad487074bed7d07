"""`kubectl llama plan`: what would be created for a manifest, why this sharding, and whether the license allows it."""

import json
import sys
from datetime import UTC, datetime
from typing import Any

from llama_operator import catalog
from llama_operator.api.reasons import ConditionType
from llama_operator.api.v1alpha1.llamadeployment_status import PlanStatus
from llama_operator.cli import files, yaml_text
from llama_operator.cli.exit_codes import EXIT_DOES_NOT_FIT, EXIT_LICENSE_REFUSED, EXIT_OK
from llama_operator.decide.decision import Decision, decide
from llama_operator.decide.observed import Observed, Settings
from llama_operator.decide.plan_status import rejected_plan
from llama_operator.desired import objects
from llama_operator.errors import FieldProblem, InvalidManifestError


def command(paths: list[str], *, name: str | None, output: str) -> int:
    """Plan the manifest in `paths` and print it; returns the exit code."""
    manifests = files.read(paths, name=name)
    observed = manifests.observed(datetime.now(UTC))
    decision = decide(observed, catalog.load())
    raise_if_invalid(decision, manifests.deployment.metadata.name)
    built = objects.build(observed, decision, Settings()).apply
    if output == "table":
        from llama_operator.cli import plan_table

        plan_table.show(observed.deployment, decision, built)
    else:
        _print(output, document(observed, decision, built))
    return exit_code(decision)


def document(observed: Observed, decision: Decision, built: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """The plan as JSON; a stable interface, documented in docs/plan.md."""
    verdict, metadata = decision.license, observed.deployment.metadata
    plan = decision.plan_status or PlanStatus()
    rejected = [rejected_plan(item).to_api() for item in decision.plan.rejected] if decision.plan else []
    return {
        "deployment": {"name": metadata.name, "namespace": metadata.namespace},
        "license": None
        if verdict is None
        else {
            "allowed": verdict.allowed,
            "tier": verdict.tier,
            "families": list(verdict.families),
            "reason": verdict.reason,
            "message": verdict.message,
            "denials": [
                {
                    "rule": d.rule,
                    "reason": d.reason,
                    "message": d.message,
                    "unblock": d.unblock,
                    "clause": d.clause,
                    "origin": d.origin,
                }
                for d in verdict.denials
            ],
        },
        "plan": {
            "chosen": plan.chosen.to_api() if plan.chosen else None,
            "alternatives": [c.label for c in decision.plan.alternatives] if decision.plan else [],
            "rejected": rejected,
        },
        "problem": None
        if decision.problem is None
        else {
            "condition": decision.problem.condition,
            "field": decision.problem.field,
            "reason": decision.problem.reason,
            "message": decision.problem.message,
        },
        "objects": list(built),
    }


def _print(output: str, content: dict[str, Any]) -> None:
    if output == "json":
        json.dump(content, sys.stdout, indent=2)
        print()
        return
    # With -o yaml the objects alone: the stream can go to kubectl.
    sys.stdout.write(yaml_text.dump(content["objects"]))


def raise_if_invalid(decision: Decision, name: str) -> None:
    """Raise InvalidManifestError if only a different manifest can cure the problem; also used by `cli.run`."""
    problem = decision.problem
    if problem is not None and problem.invalid:
        raise InvalidManifestError(f"LlamaDeployment {name}", [FieldProblem(problem.field, problem.message)])


def exit_code(decision: Decision) -> int:
    """Exit code of a decision about a valid manifest; also used by `cli.run`."""
    if decision.problem is None:
        return EXIT_OK
    if decision.problem.condition is ConditionType.LICENSE_ACCEPTED:
        return EXIT_LICENSE_REFUSED
    return EXIT_DOES_NOT_FIT
