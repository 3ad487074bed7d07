"""Entry point of `kubectl-llama`: parses arguments, dispatches, and turns errors into exit codes.

argparse rather than a larger library, and commands imported only when called: `plan` has to answer in the time that a
person takes to look up (docs/designs/0004-command-line.md).
"""

import argparse
import sys
from collections.abc import Mapping, Sequence

from llama_operator import __version__
from llama_operator.errors import InvalidManifestError, LlamaOperatorError

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_INVALID = 2
EXIT_DOES_NOT_FIT = 3
EXIT_LICENSE_REFUSED = 4
EXIT_INTERRUPTED = 130

EXIT_CODES: Mapping[int, str] = {
    EXIT_OK: "it fits, or it was done",
    EXIT_FAILED: "something failed",
    EXIT_INVALID: "the manifest is invalid",
    EXIT_DOES_NOT_FIT: "it does not fit",
    EXIT_LICENSE_REFUSED: "the license refuses it",
    EXIT_INTERRUPTED: "interrupted",
}
"""Exit codes of all commands with their meaning."""

_EXIT_CODES = "exit codes:\n" + "".join(f"  {code:>3}  {meaning}\n" for code, meaning in EXIT_CODES.items())

_PLAN_EXAMPLES = """\
examples:
  kubectl llama plan -f chat-70b.yaml                 what would be created, and why this sharding
  kubectl llama plan -f chat-70b.yaml -o json         the same for programs
  kubectl llama plan -f chat-70b.yaml -f accept.yaml  with the LicenseAcceptance that the cluster would have
  kubectl llama plan -f chat-70b.yaml -o yaml         the objects, ready for kubectl diff -f -

"""

_RUN_EXAMPLES = """\
examples:
  kubectl llama run -f manifests/samples/tiny-cpu.yaml                 serve until Ctrl-C
  kubectl llama run -f manifests/samples/tiny-cpu.yaml --once "Hello"  one answer, the status, then stop
  kubectl llama run -f manifests/samples/tiny-cpu.yaml --tour          chat, stream, scale on a burst, then stop
  kubectl llama run -f my-1b.yaml --weights ~/models/Llama-3.2-1B      weights from a folder on this machine

"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        return _dispatch(arguments)
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


def _dispatch(arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "plan":
            from llama_operator.cli import plan

            return plan.command(arguments.file, name=arguments.name, output=arguments.output)
        case "models":
            from llama_operator.cli import models

            return models.command(arguments.model, output=arguments.output)
        case _:
            from llama_operator.cli import run

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


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="kubectl llama",
        description="Plan, run and inspect Llama models served by llama-operator.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EXIT_CODES,
    )
    parser.add_argument("--version", action="version", version=f"llama-operator {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    plan = _command(
        commands, "plan", "how a manifest would be sharded, and what it needs; changes nothing", _PLAN_EXAMPLES
    )
    _add_files(plan)
    plan.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table", help="default: table")

    run = _command(commands, "run", "serve a manifest on this machine, without Kubernetes", _RUN_EXAMPLES)
    _add_files(run)
    run.add_argument("--once", metavar="PROMPT", help="print the answer to PROMPT and the status table, then stop")
    run.add_argument(
        "--tour", action="store_true", help="show models, chat, streaming and scaling on a burst, then stop"
    )
    run.add_argument("--port", type=int, help="port of the URL (default: a free one)")
    run.add_argument("--weights", metavar="DIR", help="folder with the model's safetensors and tokenizer")

    models = _command(commands, "models", "what the catalog knows: models, sizes, licenses", "")
    models.add_argument("model", nargs="?", help="show one model")
    models.add_argument("-o", "--output", choices=("table", "json"), default="table", help="default: table")
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, summary: str, examples: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=examples + _EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f",
        "--file",
        action="append",
        required=True,
        metavar="FILE",
        help="manifest, - for standard input; repeatable",
    )
    parser.add_argument("--name", help="which LlamaDeployment, where FILE holds several")


def _print_invalid(error: InvalidManifestError) -> None:
    print(f"error: {error.subject} is invalid:", file=sys.stderr)
    for problem in error.problems:
        print(f"  {problem.path}", file=sys.stderr)
        print(f"      {problem.problem}", file=sys.stderr)
        if problem.allowed:
            print(f"      {problem.allowed}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
