"""Entry point of `kubectl-llama`: parses arguments, dispatches, and turns errors into exit codes.

argparse rather than a larger library, and commands imported only when called: `plan` has to answer in the time that a
person takes to look up (docs/designs/0004-command-line.md).
"""

import argparse
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from llama_operator.cli.arguments import build_parser
from llama_operator.cli.shared.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_INVALID, EXIT_OK
from llama_operator.errors import FieldProblem, InvalidManifestError, LlamaOperatorError

if TYPE_CHECKING:
    from llama_operator.cli.shared.connection import Connection, Connector


def main(argv: Sequence[str] | None = None, *, connector: "Connector | None" = None) -> int:
    """Run the command line and return the exit code.

    Args:
        argv: Arguments; None for those of the process.
        connector: Opens the cluster for the commands that need one; None for the one that the kubeconfig names.
    """
    arguments = build_parser().parse_args(argv)
    try:
        return _dispatch(arguments, connector)
    except InvalidManifestError as error:
        _print_invalid(error)
        return EXIT_INVALID
    except LlamaOperatorError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # `plan | head` is no error; keep the interpreter from complaining at exit.
        sys.stderr.close()
        return EXIT_OK


def _dispatch(arguments: argparse.Namespace, connector: "Connector | None") -> int:
    match arguments.command:
        case "plan":
            return _plan(arguments, connector)
        case "cost":
            from llama_operator.cli.cost import answer
            from llama_operator.cli.cost import command as cost

            return cost.command(
                answer.CostOptions(
                    paths=arguments.file,
                    name=arguments.name,
                    prices=arguments.prices,
                    api_price=arguments.api_price,
                    requests_per_minute=arguments.requests_per_minute,
                    nodes=arguments.nodes,
                    output=arguments.output,
                )
            )
        case "models":
            from llama_operator.cli.models import command as models

            return models.command(arguments.model, output=arguments.output)
        case "run":
            from llama_operator.cli.run import command as run

            return run.command(
                arguments.file,
                run.RunOptions(
                    name=arguments.name,
                    once=arguments.once,
                    tour=arguments.tour,
                    port=arguments.port,
                    weights=arguments.weights,
                ),
            )
        case "license" if arguments.action in {"template", "verify"} or arguments.file:
            return _license_offline(arguments)
        case _:
            from llama_operator.cli.shared import connection

            access = connection.Access(arguments.kubeconfig, arguments.context, getattr(arguments, "namespace", None))
            return connection.run(access, connector or connection.from_kubeconfig, _on_cluster(arguments))


def _plan(arguments: argparse.Namespace, connector: "Connector | None") -> int:
    from llama_operator.cli.plan import command as plan

    options = plan.PlanOptions(
        paths=arguments.file,
        name=arguments.name,
        output=arguments.output,
        nodes=arguments.nodes,
        namespace=arguments.namespace,
    )
    if not (arguments.cluster or arguments.context or arguments.kubeconfig):
        return plan.command(options)
    if options.nodes is not None:
        problem = FieldProblem("--nodes", "and --cluster both say which hardware there is", "leave one of them out")
        raise InvalidManifestError("the command line", [problem])
    from llama_operator.cli.shared import connection

    access = connection.Access(arguments.kubeconfig, arguments.context, arguments.namespace)
    return connection.run(
        access, connector or connection.from_kubeconfig, lambda open_: plan.on_cluster(open_, options)
    )


def _license_offline(arguments: argparse.Namespace) -> int:
    """The commands about licenses that need no cluster."""
    as_json = arguments.output == "json"
    match arguments.action:
        case "template":
            from llama_operator.cli.license import template

            return template.command(arguments.model, as_json=as_json)
        case "explain":
            from llama_operator.cli.license import explain as license_explain

            return license_explain.explain_files(arguments.file, arguments.name, as_json=as_json)
        case "report":
            from llama_operator.cli.license import report

            return report.report_files(arguments.file, arguments.names, form=arguments.output)
        case _:
            from llama_operator.cli.license import verify

            options = verify.VerifyOptions(
                tuple(arguments.files),
                arguments.after,
                arguments.head,
                mixed=arguments.mixed,
                public_keys=tuple(arguments.public_key),
            )
            return verify.command(options, as_json=as_json)


def _on_cluster(arguments: argparse.Namespace) -> "Callable[[Connection], Awaitable[int]]":
    """The command that works on a cluster, with its arguments; imports that command alone."""
    as_json = arguments.output == "json"
    match arguments.command:
        case "get":
            from llama_operator.cli.get import command as get
            from llama_operator.cli.get import rows

            options = rows.GetOptions(
                name=arguments.name,
                all_namespaces=arguments.all_namespaces,
                as_json=as_json,
                watch=arguments.watch,
            )
            return lambda cluster: get.command(cluster, options)
        case "explain":
            from llama_operator.cli.explain import command as explain

            return lambda cluster: explain.command(cluster, arguments.name, as_json=as_json)
        case "diff":
            from llama_operator.cli.diff import command as diff

            return lambda cluster: diff.command(
                cluster, arguments.file, name=arguments.name, asked=arguments.namespace, as_json=as_json
            )
        case "history":
            from llama_operator.cli.history import command as history

            return lambda cluster: history.command(cluster, arguments.name, as_json=as_json)
        case "rollback":
            from llama_operator.cli.rollback import command as rollback

            wanted = rollback.RollbackOptions(arguments.name, arguments.to_revision, dry_run=arguments.dry_run)
            return lambda cluster: rollback.command(cluster, wanted, as_json=as_json)
        case "license" if arguments.action == "explain":
            from llama_operator.cli.license import explain as license_explain

            if arguments.name is None:
                problem = FieldProblem("NAME", "is missing", "name a deployment, or give its manifest with -f")
                raise InvalidManifestError("the command line", [problem])
            return lambda cluster: license_explain.explain(cluster, arguments.name, as_json=as_json)
        case "license":
            from llama_operator.cli.license import report

            return lambda cluster: report.report(
                cluster, arguments.names, all_namespaces=arguments.all_namespaces, form=arguments.output
            )
        case _:
            from llama_operator.cli.doctor import command as doctor

            return lambda cluster: doctor.command(cluster, as_json=as_json)


def _print_invalid(error: InvalidManifestError) -> None:
    print(f"error: {error.subject} is invalid:", file=sys.stderr)
    for problem in error.problems:
        print(f"  {problem.path}", file=sys.stderr)
        print(f"      {problem.problem}", file=sys.stderr)
        if problem.allowed:
            print(f"      {problem.allowed}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
