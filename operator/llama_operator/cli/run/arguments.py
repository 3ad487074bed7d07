"""Arguments of `kubectl llama run`. Called by `cli.verbs`; imports argparse only."""

import argparse
from typing import Final

from llama_operator.cli.shared.arguments import Commands, add_command, add_file, add_name

_LAST_PORT: Final = 65_535
_EXAMPLES = """\
examples:
  kubectl llama run -f manifests/samples/tiny-cpu.yaml                 serve until Ctrl-C
  kubectl llama run -f manifests/samples/tiny-cpu.yaml --once "Hello"  one answer, the status, then stop
  kubectl llama run -f manifests/samples/tiny-cpu.yaml --tour          chat, stream, scale on a burst, then stop
  kubectl llama run -f manifests/samples/tiny-cpu.yaml --tenant acme   ask for keys, and make one for tenant acme
  kubectl llama run -f my-1b.yaml --weights ~/models/Llama-3.2-1B      weights from a folder on this machine

"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "run", "serve a manifest on this machine, without Kubernetes", _EXAMPLES)
    add_file(parser)
    add_name(parser)
    parser.add_argument("--once", metavar="PROMPT", help="print the answer to PROMPT and the status table, then stop")
    parser.add_argument(
        "--tour", action="store_true", help="show models, chat, streaming and scaling on a burst, then stop"
    )
    parser.add_argument("--port", type=_port, help="port of the URL (default: a free one)")
    parser.add_argument(
        "--tenant",
        action="append",
        metavar="TENANT",
        help="ask for API keys, and make one for this tenant; its limits are in spec.tenants (repeatable)",
    )
    parser.add_argument("--weights", metavar="DIR", help="folder with the model's safetensors and tokenizer")


def _port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdigit() else 0
    # Port 0 would be a new one at each look, and no URL.
    if not 0 < port <= _LAST_PORT:
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 1 to {_LAST_PORT}, not {text}; without it a free port is taken"
        )
    return port
