"""Arguments of `kubectl llama usage`. Called by `cli.verbs`; imports argparse only."""

from llama_operator.cli.shared.arguments import Commands, add_command, add_output

_EXAMPLES = """\
The usage log is one line of JSON for each request, in files of the pods with replicas (docs/cli.md#usage says how to copy them).
Tokens are counted where the engine makes them, also of requests that were cut off. A line that is read twice counts once.

examples:
  kubectl llama usage chat-70b -f usage/               all lines of a deployment, in the files of a folder
  kubectl llama usage chat-70b -f usage/ --month       this month, in UTC; --month 2026-10 for another one
  kubectl llama usage -f usage/ --since 24h --tenant acme -o json
  kubectl llama usage chat-70b -f usage/ --price-per-million-input 0.60 --price-per-million-output 2.40
  kubectl llama usage chat-70b -f usage/ --manifest chat-70b.yaml     at what the tokens cost yourself: kubectl llama cost
  cat lines | kubectl llama usage chat-70b -f -        from standard input; lines of other logs may stand between

"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "usage", "tokens and cost by tenant and model, from the usage log", _EXAMPLES)
    parser.add_argument("name", nargs="?", help="the deployment (default: all of the log)")
    parser.add_argument(
        "-f",
        "--file",
        action="append",
        required=True,
        metavar="FILE",
        help="file of the usage log, or folder of such files; - for standard input; repeatable",
    )
    parser.add_argument("-n", "--namespace", help="namespace of the deployments (default: all of the log)")
    parser.add_argument("--tenant", metavar="TENANT", help="only this tenant")
    time = parser.add_mutually_exclusive_group()
    time.add_argument(
        "--since", metavar="WHEN", help="requests that ended since then: 24h, 30d, a date, a time with its zone"
    )
    time.add_argument(
        "--month",
        nargs="?",
        const="now",
        metavar="YYYY-MM",
        help="requests that ended in a month of UTC (default: this one)",
    )
    for kind, more in (("input", ""), ("output", ""), ("cached", " (default: that of input)")):
        parser.add_argument(
            f"--price-per-million-{kind}", metavar="USD", help=f"dollars for a million {_OF[kind]} tokens{more}"
        )
    parser.add_argument(
        "--manifest", metavar="FILE", help="price tokens as `kubectl llama cost` does, by this manifest"
    )
    parser.add_argument(
        "--prices", metavar="FILE", help="with --manifest: your prices of GPUs, as in kubectl llama cost"
    )
    add_output(parser)


_OF = {"input": "prompt", "output": "output", "cached": "cached prompt"}
