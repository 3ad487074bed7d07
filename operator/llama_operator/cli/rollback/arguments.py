"""Arguments of `kubectl llama rollback`. Called by `cli.verbs`; imports argparse only."""

from llama_operator.cli.shared.arguments import Commands, add_cluster, add_command, add_output

_EXAMPLES = """\
examples:
  kubectl llama rollback chat-70b --dry-run          what would be written
  kubectl llama rollback chat-70b                    to the revision that served before
  kubectl llama rollback chat-70b --to-revision 3    to revision 3 of `kubectl llama history chat-70b`

"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "rollback", "write an older revision back into the spec of a deployment", _EXAMPLES)
    parser.add_argument("name", help="the deployment")
    parser.add_argument(
        "--to-revision", type=int, metavar="N", help="number in the history (default: the one that served before)"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")
    add_cluster(parser)
    add_output(parser)
