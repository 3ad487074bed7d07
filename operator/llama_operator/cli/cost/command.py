"""`kubectl llama cost`: what a manifest would cost per hour and per token, and when that is less than an API.

Works on the same decision as `kubectl llama plan`. Prices are a table that the user can replace; they do not change the
plan. docs/cost.md documents the JSON.
"""

import argparse

from llama_operator import catalog
from llama_operator.cli.cost.answer import Answer, CostOptions, document, work_out
from llama_operator.cli.plan import nodes_file
from llama_operator.cli.shared import files, outcome, output
from llama_operator.cli.shared.exit_codes import EXIT_OK
from llama_operator.cli.shared.options import filled
from llama_operator.decide.decision import Decision, decide
from llama_operator.decide.observed import Observed


def command(options: CostOptions) -> int:
    """Print what the manifest would cost; returns the exit code.

    Raises:
        InvalidManifestError: If the manifest, the prices or an option cannot be used, or the card has no price.
    """
    answer = answer_to(options)
    if isinstance(answer, Decision):
        _tell(answer, options.output)
        return outcome.exit_code(answer)
    if options.output == "json":
        output.print_json(document(answer))
    else:
        from llama_operator.cli.cost import table as cost_table

        cost_table.show(answer)
    return EXIT_OK


def answer_to(options: CostOptions) -> Answer | Decision:
    """Work out what the manifest would cost; the decision if nothing fits. Also called by `cli.usage`.

    Raises:
        InvalidManifestError: As `command`.
    """
    manifests, known = files.read(options.file, name=options.name), catalog.load()
    nodes = None if options.nodes is None else nodes_file.read(options.nodes, known)
    observed = Observed(manifests.deployment, acceptances=manifests.acceptances or None, nodes=nodes)
    decision = decide(observed, known)
    metadata = manifests.deployment.metadata
    outcome.raise_if_invalid(observed, decision)
    chosen = decision.plan.chosen if decision.plan is not None else None
    if chosen is None:
        return decision
    return work_out(f"{metadata.namespace}/{metadata.name}", manifests.deployment.spec, decision, chosen, options)


def _tell(decision: Decision, form: str) -> None:
    problem = decision.problem
    reason, message = (problem.reason, problem.text) if problem else ("NothingFits", "no plan, so no cost")
    if form == "json":
        output.print_json({"scenarios": [], "problem": {"reason": reason, "message": message}})
    else:
        output.console().print(f"✗ {reason}: {message}", markup=False)


def run(arguments: argparse.Namespace, _connector: object) -> int:
    """Run the command as the command line asks for it; returns the exit code."""
    return command(filled(CostOptions, arguments))
