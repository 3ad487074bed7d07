"""`kubectl llama explain`: why a deployment is not Ready, as a chain of checks with what would unblock each."""

from typing import Any

from llama_operator.api.reasons import ConditionType
from llama_operator.cli.explain import chain as explain_checks
from llama_operator.cli.explain import gather
from llama_operator.cli.explain.facts import Facts
from llama_operator.cli.shared import checks, output
from llama_operator.cli.shared.connection import Connection, get_or_explain, runner
from llama_operator.cli.shared.exit_codes import EXIT_NOT_READY, EXIT_OK
from llama_operator.cli.shared.options import NamedOptions
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref


async def command(connection: Connection, options: NamedOptions) -> int:
    """Explain a deployment; returns the exit code: 0 when it is Ready with what the spec asks for."""
    ref = Ref(kinds.LLAMA_DEPLOYMENT, connection.namespace, options.name)
    live = await get_or_explain(connection.cluster, ref)
    facts = await gather.gather(connection, live)
    chain = explain_checks.chain(facts)
    if options.as_json:
        output.print_json(document(facts, chain))
    else:
        console = output.console()
        checks.show(console, chain)
        console.print(_verdict(facts, chain), soft_wrap=True)
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


def _verdict(facts: Facts, chain: tuple[checks.Check, ...]) -> Any:
    from rich.text import Text

    address = f"{facts.namespace}/{facts.name}"
    failed = [check.name for check in chain if check.state is checks.State.FAILED]
    if explain_checks.ready(facts) and failed:
        return Text.assemble((f"{address} is Ready, with a problem", "bold yellow"), f": see {', '.join(failed)}")
    if explain_checks.ready(facts):
        return Text.assemble((f"{address} is Ready", "bold green"), f": {facts.status.url}")
    waiting = [check.name for check in chain if check.state is checks.State.WAITING]
    if facts.deleted_at is not None:
        return Text.assemble((f"{address} is being deleted", "bold red"), ": see object")
    lacks = "is not Ready"
    if explain_checks.answers(facts):
        lacks = "answers, and does not serve what the spec asks for"
    if failed:
        return Text.assemble((f"{address} {lacks}", "bold red"), f": see {', '.join(failed)}")
    return Text.assemble((f"{address} {lacks} yet", "bold yellow"), f": waiting for {', '.join(waiting) or 'it'}")


run = runner(command, NamedOptions)
