"""`kubectl llama explain`: why a deployment is not Ready, as a chain of checks with what would unblock each."""

import argparse
from typing import Any

from llama_operator.api.reasons import ConditionType
from llama_operator.cli.explain import chain as explain_checks
from llama_operator.cli.explain import gather
from llama_operator.cli.explain.facts import Facts
from llama_operator.cli.shared import checks, output
from llama_operator.cli.shared.connection import Connection, Connector, get_or_explain, on_cluster
from llama_operator.cli.shared.exit_codes import EXIT_NOT_READY, EXIT_OK
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref


async def command(connection: Connection, name: str, *, as_json: bool) -> int:
    """Explain the deployment `name`; returns the exit code: 0 when it is Ready."""
    ref = Ref(kinds.LLAMA_DEPLOYMENT, connection.namespace, name)
    live = await get_or_explain(connection.cluster, ref)
    facts = await gather.gather(connection, live)
    chain = explain_checks.chain(facts)
    if as_json:
        output.print_json(document(facts, chain))
    else:
        _print_table(facts, chain)
    return EXIT_OK if explain_checks.ready(facts) else EXIT_NOT_READY


def document(facts: Facts, chain: tuple[checks.Check, ...]) -> dict[str, Any]:
    """The explanation as JSON; a stable interface, documented in docs/cli.md."""
    ready = explain_checks.condition_of(facts, ConditionType.READY)
    return {
        "namespace": facts.namespace,
        "name": facts.name,
        "ready": explain_checks.ready(facts),
        "reason": ready.reason if ready else "",
        "message": ready.message if ready else "",
        "checks": [check.to_json() for check in chain],
    }


def _print_table(facts: Facts, chain: tuple[checks.Check, ...]) -> None:
    console = output.console()
    checks.show(console, chain)
    console.print(_verdict(facts, chain), soft_wrap=True)


def _verdict(facts: Facts, chain: tuple[checks.Check, ...]) -> Any:
    from rich.text import Text

    address = f"{facts.namespace}/{facts.name}"
    if explain_checks.ready(facts):
        return Text.assemble((f"{address} is Ready", "bold green"), f": {facts.status.url}")
    failed = [check.name for check in chain if check.state is checks.State.FAILED]
    waiting = [check.name for check in chain if check.state is checks.State.WAITING]
    if failed:
        return Text.assemble((f"{address} is not Ready", "bold red"), f": see {', '.join(failed)}")
    return Text.assemble((f"{address} is not Ready yet", "bold yellow"), f": waiting for {', '.join(waiting) or 'it'}")


def run(arguments: argparse.Namespace, connector: Connector | None) -> int:
    """Run the command as the command line asks for it; returns the exit code."""
    return on_cluster(
        arguments, connector, lambda cluster: command(cluster, arguments.name, as_json=arguments.output == "json")
    )
