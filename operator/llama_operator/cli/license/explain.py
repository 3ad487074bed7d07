"""`kubectl llama license explain`: every rule with its outcome, its clause, and what would unblock it."""

import argparse
import sys
from typing import Any

from llama_operator.cli.license import account
from llama_operator.cli.license import judged as license_judged
from llama_operator.cli.license.judged import DISCLAIMER, Judged, Judgments
from llama_operator.cli.shared import checks, output
from llama_operator.cli.shared.connection import Connection, Connector, on_cluster
from llama_operator.cli.shared.exit_codes import EXIT_LICENSE_REFUSED, EXIT_OK
from llama_operator.errors import FieldProblem, InvalidManifestError
from llama_operator.evidence.record import RuleRecord
from llama_operator.evidence.weights import what_runs

_STATES = {
    "Allowed": checks.State.PASSED,
    "Denied": checks.State.FAILED,
    "NotApplicable": checks.State.ABSENT,
    "NotChecked": checks.State.UNKNOWN,
}


def explain_files(paths: list[str], name: str | None, *, as_json: bool) -> int:
    """Explain the deployment of `paths` by the records beside it; returns the exit code: 0 when it is allowed."""
    judgments = license_judged.from_files(paths)
    named = [judged for judged in judgments.judged if name in {None, judged.deployment.metadata.name}]
    if len(named) != 1:
        names = ", ".join(judged.deployment.metadata.name for judged in judgments.judged)
        problem = FieldProblem("kind", f"one LlamaDeployment is needed, found: {names}", "name it on the command line")
        raise InvalidManifestError(", ".join(paths), [problem])
    return _show(Judgments(tuple(named)), as_json=as_json)


async def explain(connection: Connection, name: str, *, as_json: bool) -> int:
    """Explain the deployment `name` of a cluster; returns the exit code."""
    judgments = await license_judged.from_cluster(connection, [name])
    if judgments.invalid:
        raise judgments.invalid[0]
    return _show(judgments, as_json=as_json)


def document(judged: Judged, unknown: tuple[str, ...] = ()) -> dict[str, Any]:
    """The explanation as JSON; a stable interface, documented in docs/cli.md."""
    verdict, metadata = judged.verdict, judged.deployment.metadata
    evidence = verdict.evidence if verdict else None
    return {
        "namespace": metadata.namespace,
        "name": metadata.name,
        "model": judged.deployment.spec.model.name,
        "allowed": None if judged.unchecked else judged.allowed,
        "tier": str(verdict.tier) if verdict else "Unresolved",
        "families": list(verdict.families) if verdict else [],
        "reason": judged.reason,
        "message": judged.message,
        "rules": [_rule(rule) for rule in judged.rules],
        "attested": account.attested(judged),
        "lineage": list(evidence.lineage) if evidence else [],
        "textHashes": list(evidence.text_hashes) if evidence else [],
        "modelDigest": evidence.model_digest if evidence else "",
        "source": _source(judged),
        "publisherLimits": _publisher_limits(judged),
        "image": what_runs(judged.observed, judged.decision, default_image="")["image"],
        "unknown": list(unknown),
        "disclaimer": DISCLAIMER,
    }


def _source(judged: Judged) -> str:
    """Where the weights are, with the commit where there is one."""
    runs = what_runs(judged.observed, judged.decision, default_image="")
    judged_source = judged.verdict.evidence.source if judged.verdict else ""
    return str(runs.get("modelSource") or judged_source)


def _publisher_limits(judged: Judged) -> str:
    """What the model card advises against; empty for models of administrators."""
    model = judged.decision.model
    return model.publisher_limits if model else ""


def _rule(rule: RuleRecord) -> dict[str, str]:
    return {
        "rule": rule.rule,
        "check": rule.check,
        "outcome": rule.outcome,
        "origin": rule.origin,
        "clause": rule.clause,
        "reason": rule.reason,
        "message": rule.message,
        "unblock": rule.unblock,
    }


def _show(judgments: Judgments, *, as_json: bool) -> int:
    judged = judgments.judged[0]
    if as_json:
        output.print_json(document(judged, judgments.unknown))
    else:
        _print(judged, judgments.unknown)
    return EXIT_OK if judged.allowed else EXIT_LICENSE_REFUSED


def _print(judged: Judged, unknown: tuple[str, ...]) -> None:
    from rich.text import Text

    console = output.console()
    verdict = judged.verdict
    model = judged.deployment.spec.model.name
    if verdict is not None:
        titles = " and ".join(family.title for family in verdict.duties.families) or "no license that is known"
        console.print(Text(f"{judged.address}: {model} is under {titles} (tier {verdict.tier})"), soft_wrap=True)
        digest = verdict.evidence.model_digest
        weights = f"{_source(judged) or 'generated'}{f', files {digest}' if digest else ''}"
        console.print(Text(f"  weights: {weights}", style="dim"), soft_wrap=True)
        if limits := _publisher_limits(judged):
            console.print(Text(f"  model card, no term of the license: {limits}", style="yellow"), soft_wrap=True)
        for step in verdict.evidence.lineage:
            console.print(Text(f"  lineage: {step}", style="dim"), soft_wrap=True)
        checks.show(console, [_check(rule) for rule in judged.rules])
        for said in verdict.evidence.attestations:
            who = f"{said.by or 'no person'} on {said.on or 'no date'}, {said.acceptance}"
            console.print(Text(f"attested, not checked: {said.rule} {said.statement} ({who})"), soft_wrap=True)
    subject, style = _said(judged)
    console.print(Text.assemble((subject, style), f": {judged.message}"), soft_wrap=True)
    console.print(Text(DISCLAIMER, style="dim"), soft_wrap=True)
    for why in unknown:
        print(f"warning: {why}", file=sys.stderr)


def _said(judged: Judged) -> tuple[str, str]:
    if judged.verdict is None:
        return f"{judged.address} cannot be judged", "bold red"
    if not judged.allowed:
        return f"the license chain refuses {judged.address}", "bold red"
    if judged.unchecked:
        return f"nothing is known against {judged.address} so far", "bold yellow"
    return f"the license chain allows {judged.address}", "bold green"


def _check(rule: RuleRecord) -> checks.Check:
    marked = rule.origin == "HousePolicy" and not rule.clause.startswith("house policy")
    house = "house policy: " if marked else ""
    state = _STATES[rule.outcome]
    if state is checks.State.FAILED:
        evidence = f"{house}{rule.message} [{rule.clause}]"
    elif state is checks.State.ABSENT:
        evidence = f"does not apply ({house}{rule.clause})"
    elif state is checks.State.UNKNOWN:
        evidence = f"not checked: no acceptance was looked up ({house}{rule.clause})"
    else:
        evidence = f"{house}{rule.clause}"
    return checks.Check(f"{rule.rule:<6}{rule.check}", state, evidence, rule.unblock)


def run(arguments: argparse.Namespace, connector: Connector | None) -> int:
    """Run the command as the command line asks for it; returns the exit code."""
    as_json = arguments.output == "json"
    if arguments.file:
        return explain_files(arguments.file, arguments.name, as_json=as_json)
    if arguments.name is None:
        problem = FieldProblem("NAME", "is missing", "name a deployment, or give its manifest with -f")
        raise InvalidManifestError("the command line", [problem])
    return on_cluster(arguments, connector, lambda cluster: explain(cluster, arguments.name, as_json=as_json))
