"""Arguments of `kubectl llama plan`. Called by `cli.verbs`; imports argparse only."""

from llama_operator.cli.shared.arguments import Commands, add_cluster, add_command, add_file, add_name, add_output

_EXAMPLES = """\
examples:
  kubectl llama plan -f chat-70b.yaml                 what would be created, and why this sharding
  kubectl llama plan -f chat-70b.yaml -o json         the same for programs
  kubectl llama plan -f chat-70b.yaml -f accept.yaml  with the LicenseAcceptance that the cluster would have
  kubectl llama plan -f manifests/ --name chat-70b --require-license   for CI: a license that was not checked fails
  kubectl llama plan -f chat-70b.yaml -o yaml         the objects, ready for kubectl diff -f -
  kubectl llama plan -f auto.yaml --nodes nodes.yaml  hardware from a file: kubectl get nodes -o yaml > nodes.yaml
  kubectl llama plan -f auto.yaml --cluster           hardware and licenses of the cluster of the current context

"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "plan", "how a manifest would be sharded, and what it needs; changes nothing", _EXAMPLES
    )
    add_file(parser)
    add_name(parser)
    parser.add_argument(
        "--nodes", metavar="FILE", help="nodes to plan for: output of kubectl get nodes, or a list of accelerators"
    )
    parser.add_argument(
        "--cluster", action="store_true", help="plan for the nodes of a live cluster; changes nothing there"
    )
    parser.add_argument(
        "--require-license",
        action="store_true",
        help="exit with 4 unless the license was checked and allows it; for CI",
    )
    add_cluster(parser)
    add_output(parser, "table", "json", "yaml")
