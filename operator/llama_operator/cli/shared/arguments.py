"""Arguments that several verbs share: how a verb adds its parser, and the options -f, -o and those of the cluster.

Imports argparse only: `kubectl llama --help` must not wait for what a verb needs to run. Called by `cli/*/arguments.py`.
"""

import argparse
from pathlib import Path
from typing import Any, TypeAlias

from llama_operator.cli.shared.exit_codes import EXIT_CODES

Commands: TypeAlias = Any
"""What `add_subparsers` returns; argparse has no public name for it."""

EXIT_CODES_TEXT = "exit codes:\n" + "".join(f"  {code:>3}  {meaning}\n" for code, meaning in EXIT_CODES.items())


def add_group(commands: Commands, name: str, summary: str, examples: str) -> argparse.ArgumentParser:
    """Add the parser of a word that has commands below it; arguments as of `add_command`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=examples + EXIT_CODES_TEXT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def add_command(
    commands: Commands, name: str, summary: str, examples: str, *, module: str = ""
) -> argparse.ArgumentParser:
    """Add the parser of one command.

    Args:
        commands: Where to add it.
        name: The word that the user types.
        summary: What the command does, in one line without a full stop.
        examples: Text below the options; empty for none.
        module: Module in `llama_operator.cli` whose function `run` does the work; `cli.main` loads it. By default the
            module `command` in the folder of the verb.
    """
    parser = add_group(commands, name, summary, examples)
    parser.set_defaults(run=f"llama_operator.cli.{module or f'{name}.command'}:run")
    return parser


def add_file(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add -f."""
    parser.add_argument(
        "-f",
        "--file",
        action="append",
        required=required,
        metavar="FILE",
        help="manifest, or folder of manifests; - for standard input; repeatable",
    )


def add_name(parser: argparse.ArgumentParser) -> None:
    """Add --name, for verbs whose only positional word would be the deployment."""
    parser.add_argument("--name", help="which LlamaDeployment, where FILE holds several")


def add_output(parser: argparse.ArgumentParser, *forms: str) -> None:
    """Add -o; the first of `forms` is the default. Without `forms`: table and json."""
    choices = forms or ("table", "json")
    parser.add_argument("-o", "--output", choices=choices, default=choices[0], help=f"default: {choices[0]}")


def add_cluster(parser: argparse.ArgumentParser, *, namespaced: bool = True) -> None:
    """Add the options that name a cluster, and a namespace of it."""
    if namespaced:
        parser.add_argument("-n", "--namespace", help="namespace (default: that of the context)")
    parser.add_argument("--context", help="context of the kubeconfig (default: the current one)")
    parser.add_argument(
        "--kubeconfig", type=Path, metavar="FILE", help="kubeconfig (default: $KUBECONFIG, then ~/.kube/config)"
    )
