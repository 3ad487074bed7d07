"""Arguments of `kubectl llama models`. Called by `cli.verbs`; imports argparse only."""

from llama_operator.cli.shared.arguments import Commands, add_command, add_output


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "models", "what the catalog knows: models, sizes, licenses", "")
    parser.add_argument("model", nargs="?", help="show one model")
    add_output(parser)
