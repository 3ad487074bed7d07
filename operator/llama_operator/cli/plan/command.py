"""`kubectl llama plan`: what would be created for a manifest, why this sharding, and whether the license allows it.

The hardware is what the manifest names, what `--nodes` has in a file, or what a live cluster has. Nothing is changed.
"""

import argparse
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from llama_operator import catalog
from llama_operator.catalog.declared import with_declared
from llama_operator.cli.plan import document
from llama_operator.cli.shared import files, outcome, output, yaml_text
from llama_operator.cli.shared.options import filled
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed, Settings
from llama_operator.desired import objects
from llama_operator.errors import InvalidManifestError

if TYPE_CHECKING:
    from llama_operator.cli.shared.connection import Connection, Connector


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What the command line says."""

    file: list[str]
    """Manifests."""
    name: str | None = None
    """Which deployment of the files; None for the only one."""
    output: str = "table"
    nodes: str | None = None
    """File with the hardware."""
    namespace: str | None = None
    """Namespace of the command line; None if it names none."""
    require_license: bool = False
    """Whether a license that was not checked fails."""


def command(options: PlanOptions) -> int:
    """Plan without a cluster and print the plan; returns the exit code."""
    # Nodes of a file may have cards that only their labels describe.
    alone = options.nodes is None
    manifests, known = files.read(options.file, name=options.name, alone=alone), catalog.load()
    nodes = None
    if options.nodes is not None:
        from llama_operator.cli.plan import nodes_file

        nodes = nodes_file.read(options.nodes, with_declared(known, manifests.accelerators))
    observed = replace(manifests.observed(datetime.now(UTC)), nodes=nodes)
    if options.namespace is not None:
        from llama_operator.cli.shared import world

        deployment = world.in_namespace(manifests, options.namespace, options.namespace)
        observed = replace(observed, deployment=deployment)
    return _print(observed, options)


async def on_cluster(connection: "Connection", options: PlanOptions) -> int:
    """Plan with the nodes and license records of a live cluster; returns the exit code.

    It ignores what runs there: `kubectl llama diff` compares with that.

    Raises:
        ClusterError: If the accelerator has to come from nodes that the user may not list.
    """
    from llama_operator.cli.shared import world
    from llama_operator.cli.shared.connection import ClusterError

    manifests = files.read(options.file, name=options.name, alone=False)
    deployment = world.in_namespace(manifests, connection.namespace, options.namespace)
    observed = await world.observed_with(connection, deployment, manifests, rollout=False)
    if observed.nodes is None and deployment.spec.hardware.accelerator == "Auto":
        raise ClusterError(
            "spec.hardware.accelerator is Auto, and you may not list the nodes of this cluster: name an accelerator, give "
            "the nodes with --nodes FILE, or ask an administrator for the right to list nodes"
        )
    empty = replace(observed, revisions=(), ray_services=(), ray_clusters=(), traffic=None)
    return _print(empty, options)


def _print(observed: Observed, options: PlanOptions) -> int:
    decision = decide(observed, catalog.load())
    built = objects.build(observed, decision, Settings()).apply
    if options.output == "json":
        # Also for what only another manifest can cure: a program wants the reason as much as a person.
        output.print_json(document.document(observed, decision, built))
    outcome.raise_if_invalid(observed, decision)
    if options.output == "table":
        from llama_operator.cli.plan import table as plan_table

        plan_table.show(observed, decision, built)
    elif options.output == "yaml":
        # Only the objects: the stream can go to kubectl.
        sys.stdout.write(yaml_text.dump(list(built)))
        if decision.license is not None and outcome.license_allows(decision.license) is None:
            print(f"warning: {decision.license.message}", file=sys.stderr)
    return outcome.exit_code(decision, require_license=options.require_license)


def run(arguments: argparse.Namespace, connector: "Connector | None") -> int:
    """Run the command as the command line asks for it; returns the exit code."""
    options = filled(PlanOptions, arguments)
    if not (arguments.cluster or arguments.context or arguments.kubeconfig):
        return command(options)
    if options.nodes is not None:
        problem = "and --cluster both say which hardware there is"
        raise InvalidManifestError.of("the command line", "--nodes", problem, "leave one of them out")
    from llama_operator.cli.shared import connection

    return connection.on_cluster(arguments, connector, lambda cluster: on_cluster(cluster, options))
