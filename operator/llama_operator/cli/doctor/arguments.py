"""Arguments of `kubectl llama doctor`. Called by `cli.verbs`; imports argparse only."""

from llama_operator.cli.shared.arguments import Commands, add_cluster, add_command, add_output

_EXAMPLES = """\
examples:
  kubectl llama doctor                           what this cluster offers, and what is missing
  kubectl llama doctor -o json                   the same for programs

"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "doctor", "what the cluster offers to llama-operator, and what is missing", _EXAMPLES
    )
    add_cluster(parser, namespaced=False)
    add_output(parser)
