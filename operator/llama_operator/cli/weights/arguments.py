"""Arguments of `kubectl llama weights`. Called by `cli.verbs`; imports argparse only."""

from llama_operator.cli.shared.arguments import (
    Commands,
    add_cluster,
    add_command,
    add_file,
    add_group,
    add_name,
    add_output,
)

_EXAMPLES = """\
examples:
  kubectl llama weights list                     copies of this namespace: size, users, age, verdict
  kubectl llama weights follow                   the log of the Job that copies, until it ends
  kubectl llama weights prefetch -f chat.yaml    copy ahead of the deployment

"""
_FOLLOW_EXAMPLES = """\
The log is read by your own right (get on pods/log): the operator reads none.

examples:
  kubectl llama weights follow                   the Job that runs, if there is only one
  kubectl llama weights follow 1f0c6c2b9a7d4e35  the Job of one copy; `weights list` has its ID

"""
_PREFETCH_EXAMPLES = """\
A LlamaDeployment of its own, NAME-prefetch, with spec.activation Prefetch, holds the copy until yours does. It needs no GPU.

examples:
  kubectl llama weights prefetch -f chat.yaml
  kubectl delete lld chat-prefetch               once chat serves

"""


def register(commands: Commands) -> None:
    """Add the commands."""
    group = add_group(commands, "weights", "copies of weights in claims", _EXAMPLES)
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = add_command(
        actions, "list", "copies of a namespace: size, users, age, verdict", _EXAMPLES, module="weights.listing"
    )
    listing.add_argument("-A", "--all-namespaces", action="store_true", help="in all namespaces")
    add_cluster(listing)
    add_output(listing)
    follow = add_command(
        actions, "follow", "the log of the Job that copies, until it ends", _FOLLOW_EXAMPLES, module="weights.follow"
    )
    follow.add_argument("id", nargs="?", metavar="ID", help="which copy, where several Jobs run")
    add_cluster(follow)
    prefetch = add_command(
        actions, "prefetch", "copy the weights of a manifest ahead of it", _PREFETCH_EXAMPLES, module="weights.prefetch"
    )
    add_file(prefetch)
    add_name(prefetch)
    add_cluster(prefetch)
