"""Arguments of `kubectl llama history`. Called by `cli.verbs`; imports argparse only."""

from llama_operator.cli.shared.arguments import Commands, add_cluster, add_command, add_output

_EXAMPLES = """\
examples:
  kubectl llama history chat-70b                 revisions, newest first: what changed, and what became of it

"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "history", "the revisions of a deployment, newest first", _EXAMPLES)
    parser.add_argument("name", help="the deployment")
    add_cluster(parser)
    add_output(parser)
