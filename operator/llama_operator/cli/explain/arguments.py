"""Arguments of `kubectl llama explain`. Called by `cli.verbs`; imports argparse only."""

from llama_operator.cli.shared.arguments import Commands, add_cluster, add_command, add_output

_EXAMPLES = """\
examples:
  kubectl llama explain chat-70b          every step to Ready, and what would unblock the first that fails
  kubectl llama explain chat-70b -o json  the same for programs
  until kubectl llama explain chat-70b; do sleep 10; done

"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "explain", "why a deployment is not Ready, step by step, and what would unblock it", _EXAMPLES
    )
    parser.add_argument("name", help="the deployment")
    add_cluster(parser)
    add_output(parser)
