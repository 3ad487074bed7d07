"""Arguments of `kubectl llama cost`. Called by `cli.verbs`; imports argparse only."""

from llama_operator.cli.shared.arguments import Commands, add_command, add_file, add_name, add_output

_EXAMPLES = """\
Tokens are prompt and answer together, as most APIs count them. Speeds are estimates (docs/performance-model.md), list
prices are not kept up to date: give your own as {basis: ..., usdPerGPUHour: {H100-80GB: 2.10}}.

examples:
  kubectl llama cost -f chat-70b.yaml                        per hour, per day and per million tokens at full load
  kubectl llama cost -f chat-70b.yaml --requests-per-minute 60   the same at your load
  kubectl llama cost -f chat-70b.yaml --prices ours.yaml     with your own prices
  kubectl llama cost -f chat-70b.yaml --api-price 0.90       from how many tokens a day on it beats an API
  kubectl llama cost -f chat-70b.yaml -o json                the same for programs

"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "cost", "what a manifest would cost, per hour and per token", _EXAMPLES)
    add_file(parser)
    add_name(parser)
    parser.add_argument("--prices", metavar="FILE", help="your prices (default: list prices that come with it)")
    parser.add_argument("--api-price", metavar="USD", help="dollars per million tokens of an API to compare with")
    parser.add_argument(
        "--requests-per-minute", type=int, metavar="N", help="load (default: spec.objectives, else full load)"
    )
    parser.add_argument("--nodes", metavar="FILE", help="nodes to plan for, as in kubectl llama plan")
    add_output(parser)
