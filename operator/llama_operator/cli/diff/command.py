"""`kubectl llama diff`: what applying a manifest would change, and whether engines restart for it."""

from dataclasses import dataclass, replace

from llama_operator import catalog
from llama_operator.api.manifest import parse_live
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.cli.diff.difference import Difference, document
from llama_operator.cli.shared import changes, files, outcome, output, world
from llama_operator.cli.shared.connection import Connection, list_or_explain, runner
from llama_operator.cli.shared.exit_codes import EXIT_OK
from llama_operator.decide.decision import decide
from llama_operator.kube import kinds


@dataclass(frozen=True, slots=True)
class DiffOptions:
    """What the command line says."""

    file: list[str]
    """Manifests."""
    name: str | None
    """Which deployment of the files; None for the only one."""
    namespace: str | None
    """Namespace of the command line; None if it names none."""
    as_json: bool


async def command(connection: Connection, options: DiffOptions) -> int:
    """Compare the manifest with the live object; returns the exit code."""
    manifests = files.read(options.file, name=options.name, alone=False)
    difference = await compare(connection, manifests, options.namespace)
    outcome.raise_if_invalid(difference.observed, difference.decision)
    if options.as_json:
        output.print_json(document(difference))
    else:
        from llama_operator.cli.diff import table as diff_table

        diff_table.show(output.console(), difference)
    if difference.before and not difference.changed:
        return EXIT_OK
    return outcome.exit_code(difference.decision)


async def compare(connection: Connection, manifests: files.Manifests, asked: str | None) -> Difference:
    """Read what is there, and decide as the operator would once `manifests` are applied.

    Args:
        connection: The cluster.
        manifests: The deployment, with the license records beside it.
        asked: Namespace of the command line; None if it names none.

    Raises:
        ClusterError: If llama-operator is not installed.
    """
    known = catalog.load()
    written = next(obj for obj in manifests.objects if obj.get("kind") == kinds.LLAMA_DEPLOYMENT.kind)
    name = manifests.deployment.metadata.name
    namespace = world.namespace_of(written, connection.namespace, asked)
    listing = await list_or_explain(connection.cluster, kinds.LLAMA_DEPLOYMENT, namespace)
    live = next((item for item in listing.items if item["metadata"]["name"] == name), None)
    before = None if live is None else parse_live(LlamaDeployment, live)
    after = world.after_apply(written, live, namespace)
    observed = await world.observed_with(connection, after, manifests)
    decision = decide(observed, known)
    waits = decision.access_check is not None and not decision.access_check.passed and decision.problem is None
    return Difference(
        before=before,
        after=after,
        changed=changes.between(before.spec if before else None, after.spec),
        observed=observed,
        decision=decision,
        later=decide(replace(observed, access_checks=None), known) if waits else decision,
    )


run = runner(command, DiffOptions)
