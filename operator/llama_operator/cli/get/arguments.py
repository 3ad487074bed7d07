"""Arguments of `kubectl llama get`. Called by `cli.verbs`; imports argparse only."""

from llama_operator.cli.shared.arguments import Commands, add_cluster, add_command, add_output

_EXAMPLES = """\
examples:
  kubectl llama get                       what serves in this namespace, where, and why not
  kubectl llama get -A                    in all namespaces
  kubectl llama get chat-70b -o json      one deployment for programs
  kubectl llama get --watch               follow it until Ctrl-C

"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "get", "what serves in the cluster, where, and why not", _EXAMPLES)
    parser.add_argument("name", nargs="?", help="show one deployment")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="in all namespaces")
    parser.add_argument("-w", "--watch", action="store_true", help="show every change until Ctrl-C")
    add_cluster(parser)
    add_output(parser)
