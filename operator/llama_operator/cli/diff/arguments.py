"""Arguments of `kubectl llama diff`. Called by `cli.verbs`; imports argparse only."""

from llama_operator.cli.shared.arguments import Commands, add_cluster, add_command, add_file, add_output

_EXAMPLES = """\
examples:
  kubectl llama diff -f chat-70b.yaml            what kubectl apply would change, and whether engines restart
  kubectl llama diff -f all.yaml chat-70b        one of several deployments in a file
  kubectl llama diff -f chat-70b.yaml -o json    the same for programs

"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "diff", "what applying a manifest would change, live or by a restart; changes nothing", _EXAMPLES
    )
    parser.add_argument("name", nargs="?", help="which LlamaDeployment, where FILE holds several")
    add_file(parser)
    add_cluster(parser)
    add_output(parser)
