"""`kubectl llama doctor`: what a cluster offers to llama-operator, and what is missing."""

import argparse
from typing import Any

from llama_operator import __version__
from llama_operator.cli.doctor import checks as doctor_checks
from llama_operator.cli.doctor import facts
from llama_operator.cli.shared import checks, output
from llama_operator.cli.shared.connection import Connection, Connector, on_cluster
from llama_operator.cli.shared.exit_codes import EXIT_NOT_READY, EXIT_OK


async def command(connection: Connection, *, as_json: bool) -> int:
    """Look at the cluster and print the checks; returns the exit code: 0 if nothing that is needed is missing."""
    judged = doctor_checks.judge(await facts.gather(connection))
    if as_json:
        output.print_json(document(judged))
    else:
        console = output.console()
        checks.show(console, judged)
        console.print(_verdict(judged), soft_wrap=True)
    return EXIT_NOT_READY if _missing(judged) else EXIT_OK


def document(judged: tuple[checks.Check, ...]) -> dict[str, Any]:
    """The findings as JSON; a stable interface, documented in docs/cli.md."""
    return {
        "version": __version__,
        "complete": not _missing(judged),
        "checks": [check.to_json() for check in judged],
    }


def _missing(judged: tuple[checks.Check, ...]) -> list[str]:
    return [check.name for check in judged if check.state is checks.State.MISSING]


def _verdict(judged: tuple[checks.Check, ...]) -> Any:
    from rich.text import Text

    if missing := _missing(judged):
        return Text.assemble(("not ready for LlamaDeployments", "bold red"), f": {', '.join(missing)}")
    weak = [check.name for check in judged if check.state in {checks.State.WARNING, checks.State.UNKNOWN}]
    rest = f"; see {', '.join(weak)}" if weak else ""
    return Text.assemble(("ready for LlamaDeployments", "bold green"), rest)


def run(arguments: argparse.Namespace, connector: Connector | None) -> int:
    """Run the command as the command line asks for it; returns the exit code."""
    return on_cluster(arguments, connector, lambda cluster: command(cluster, as_json=arguments.output == "json"))
