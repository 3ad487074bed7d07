"""Arguments of `kubectl llama license` and its actions. Called by `cli.verbs`; imports argparse only."""

from llama_operator.cli.shared.arguments import Commands, add_cluster, add_command, add_file, add_group, add_output

_EXAMPLES = """\
examples:
  kubectl llama license template llama-3.3-70b-instruct  the record that the model needs, to be filled in
  kubectl llama license explain chat-70b         every rule of the license chain, and what would unblock it
  kubectl llama license report -A -o csv         what each deployment uses, by which right, with which duties
  kubectl llama license verify evidence.jsonl    whether recorded decisions are as they were written

"""
_TEMPLATE_EXAMPLES = """\
examples:
  kubectl llama license template llama-3.3-70b-instruct > acceptance.yaml   fill in what is empty, then kubectl apply -f
  kubectl llama license template deepseek-r1-distill-llama-70b -o json      the same for programs
  kubectl llama license template acme-support -f model.yaml                 for a LlamaModel, by its lineage
  kubectl llama license template acme-support --cluster                     for a LlamaModel of the cluster
"""
_EXPLAIN_EXAMPLES = """\
examples:
  kubectl llama license explain chat-70b                       a deployment of the cluster
  kubectl llama license explain -f chat-70b.yaml -f accept.yaml  a manifest, with the records beside it; needs no cluster
  kubectl llama license explain chat-70b -o json               the same for programs

It shows rules and evidence; it gives no legal advice.

"""
_REPORT_EXAMPLES = """\
examples:
  kubectl llama license report -A -o csv > licenses.csv  every deployment, for a spreadsheet
  kubectl llama license report -A -o html > licenses.html  a page to read, print and file
  kubectl llama license report chat-70b chat-8b          some deployments of the namespace
  kubectl llama license report -f all.yaml -o json       manifests, with the records beside them; needs no cluster

It shows duties and evidence; it gives no legal advice.

"""
_VERIFY_EXAMPLES = """\
examples:
  kubectl llama license verify evidence.jsonl.1 evidence.jsonl   rotated files, the oldest first
  kubectl logs -n llama-system deploy/llama-operator -c evidence | kubectl llama license verify -
  kubectl llama license verify evidence.jsonl --head 593b...     with the last hash, which the operator's Lease has:
  kubectl get lease -n llama-system llama-operator \\
    -o jsonpath='{.metadata.annotations.llama-operator\\.io/license-evidence-head}'

  kubectl llama license verify evidence.jsonl --public-key public.pem   whether the operator's key signed each line

Changes, insertions, removals and another order are found in any case; lines cut off at the end only against --head, and a
log that was rewritten from end to end only against --head or --public-key.

"""


def register(commands: Commands) -> None:
    """Add the command and its actions."""
    group = add_group(
        commands, "license", "which rules apply to a model, by which right it runs, and the evidence", _EXAMPLES
    )
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_template(actions)
    _add_explain(actions)
    _add_report(actions)
    _add_verify(actions)


def _add_template(actions: Commands) -> None:
    template = add_command(
        actions,
        "template",
        "the LicenseAcceptance that a model needs, with versions and text hashes; what only you know stays empty",
        _TEMPLATE_EXAMPLES,
        module="license.template",
    )
    template.add_argument("model", metavar="MODEL", help="a model of `kubectl llama models`, or a LlamaModel")
    add_file(template, required=False)
    template.add_argument("--cluster", action="store_true", help="look for the LlamaModel in the cluster")
    add_cluster(template, namespaced=False)
    add_output(template, "yaml", "json")


def _add_explain(actions: Commands) -> None:
    explain = add_command(
        actions,
        "explain",
        "every rule of the license chain with its outcome, its clause, and what would unblock it",
        _EXPLAIN_EXAMPLES,
        module="license.explain",
    )
    explain.add_argument("name", nargs="?", help="the deployment; with -f which of the files")
    add_file(explain, required=False)
    add_cluster(explain)
    add_output(explain)


def _add_report(actions: Commands) -> None:
    report = add_command(
        actions,
        "report",
        "for auditors: who accepted what and when, which revision serves since when, and the duties of each deployment",
        _REPORT_EXAMPLES,
        module="license.report",
    )
    report.add_argument("names", nargs="*", metavar="NAME", help="deployments (default: all of the namespace)")
    report.add_argument("-A", "--all-namespaces", action="store_true", help="in all namespaces")
    add_file(report, required=False)
    add_cluster(report)
    add_output(report, "table", "json", "csv", "html")


def _add_verify(actions: Commands) -> None:
    verify = add_command(
        actions,
        "verify",
        "whether recorded license decisions were changed, removed, inserted or reordered",
        _VERIFY_EXAMPLES,
        module="license.verify",
    )
    verify.add_argument("files", nargs="+", metavar="FILE", help="the oldest first; - for standard input")
    verify.add_argument(
        "--after", metavar="HASH", help="last hash of the file before, where the first one is not given"
    )
    verify.add_argument(
        "--head", metavar="HASH", help="last hash that there must be, kept apart from the log; or what the Lease has"
    )
    verify.add_argument(
        "--public-key",
        action="append",
        default=[],
        metavar="FILE",
        help="public key (Ed25519, PEM) that must have signed the lines; repeat it for each key of the time",
    )
    verify.add_argument("--mixed", action="store_true", help="lines of other logs stand between the records: skip them")
    add_output(verify)
