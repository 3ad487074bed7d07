"""The verbs of the command line and their parser. A new verb is a folder with `arguments.py`, and its name here.

Called by `cli.main`, and by the generator of the reference.
"""

import argparse
from collections.abc import Sequence
from importlib import import_module

from llama_operator import __version__
from llama_operator.cli.shared.arguments import EXIT_CODES_TEXT

VERBS: tuple[str, ...] = (
    "plan",
    "cost",
    "simulate",
    "run",
    "models",
    "usage",
    "get",
    "top",
    "explain",
    "doctor",
    "diff",
    "weights",
    "history",
    "rollback",
    "key",
    "license",
)
"""Every verb in the order of `--help`: first those that need no cluster. The folder of a verb has its name."""


def build_parser(verbs: Sequence[str] = VERBS) -> argparse.ArgumentParser:
    """Build the parser of `verbs`; each verb adds its own commands."""
    parser = argparse.ArgumentParser(
        prog="kubectl llama",
        description="Plan, run and inspect Llama models served by llama-operator.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EXIT_CODES_TEXT,
    )
    parser.add_argument("--version", action="version", version=f"llama-operator {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for verb in verbs:
        import_module(f"llama_operator.cli.{verb}.arguments").register(commands)
    return parser


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse the words of a command line; imports only the verb that the first word names."""
    return build_parser(words[:1] if words and words[0] in VERBS else VERBS).parse_args(words)
