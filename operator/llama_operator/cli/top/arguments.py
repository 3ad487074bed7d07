"""Arguments of `kubectl llama top`. Called by `cli.verbs`; imports argparse only."""

import argparse

from llama_operator.cli.shared.arguments import Commands, add_cluster, add_command, add_output

ORDERS = ("name", "waiting", "running", "work", "cache", "gpus")
"""By what rows can be sorted; numbers begin with the largest."""

_EXAMPLES = """\
Requests and caches are asked of the pods, through the API server (right: get services/proxy). Without that right, and while no pod
answers, the columns show what the operator saw last, marked with ~.

examples:
  kubectl llama top                       all deployments of this namespace
  kubectl llama top -A --sort-by waiting  of all namespaces, the longest queue first
  kubectl llama top chat-70b --watch      one deployment, again every two seconds until Ctrl-C
  kubectl llama top -w --every 10 -o json   a line of JSON for all of them every ten seconds

"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "top", "what replicas do now: load, need, queue, caches, GPUs", _EXAMPLES)
    parser.add_argument("name", nargs="?", help="show one deployment")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="in all namespaces")
    parser.add_argument("-w", "--watch", action="store_true", help="again and again until Ctrl-C")
    parser.add_argument("--every", type=_seconds, default=2.0, metavar="SECONDS", help="with --watch: default 2")
    parser.add_argument("--sort-by", choices=ORDERS, default=ORDERS[0], help=f"default: {ORDERS[0]}")
    add_cluster(parser)
    add_output(parser)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 3600:  # noqa: PLR2004 - also what the words say
        raise argparse.ArgumentTypeError(f"{text} is no time between 1 and 3600 seconds")
    return seconds
