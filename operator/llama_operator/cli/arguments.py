"""The parser of the command line: every command with its options and examples. Called by `cli.main` and `cli.reference`."""

import argparse
from pathlib import Path
from typing import Any, TypeAlias

from llama_operator import __version__
from llama_operator.cli.shared.exit_codes import EXIT_CODES

_Commands: TypeAlias = Any
"""What `add_subparsers` returns; argparse has no public name for it."""

_EXIT_CODES = "exit codes:\n" + "".join(f"  {code:>3}  {meaning}\n" for code, meaning in EXIT_CODES.items())

_PLAN_EXAMPLES = """\
examples:
  kubectl llama plan -f chat-70b.yaml                 what would be created, and why this sharding
  kubectl llama plan -f chat-70b.yaml -o json         the same for programs
  kubectl llama plan -f chat-70b.yaml -f accept.yaml  with the LicenseAcceptance that the cluster would have
  kubectl llama plan -f chat-70b.yaml -o yaml         the objects, ready for kubectl diff -f -
  kubectl llama plan -f auto.yaml --nodes nodes.yaml  hardware from a file: kubectl get nodes -o yaml > nodes.yaml
  kubectl llama plan -f auto.yaml --cluster           hardware and licenses of the cluster of the current context

"""

_COST_EXAMPLES = """\
Tokens are prompt and answer together, as most APIs count them. Speeds are estimates (docs/performance-model.md), list
prices are not kept up to date: give your own as {basis: ..., usdPerGPUHour: {H100-80GB: 2.10}}.

examples:
  kubectl llama cost -f chat-70b.yaml                        per hour, per day and per million tokens at full load
  kubectl llama cost -f chat-70b.yaml --requests-per-minute 60   the same at your load
  kubectl llama cost -f chat-70b.yaml --prices ours.yaml     with your own prices
  kubectl llama cost -f chat-70b.yaml --api-price 0.90       from how many tokens a day on it beats an API
  kubectl llama cost -f chat-70b.yaml -o json                the same for programs

"""

_RUN_EXAMPLES = """\
examples:
  kubectl llama run -f manifests/samples/tiny-cpu.yaml                 serve until Ctrl-C
  kubectl llama run -f manifests/samples/tiny-cpu.yaml --once "Hello"  one answer, the status, then stop
  kubectl llama run -f manifests/samples/tiny-cpu.yaml --tour          chat, stream, scale on a burst, then stop
  kubectl llama run -f my-1b.yaml --weights ~/models/Llama-3.2-1B      weights from a folder on this machine

"""

_GET_EXAMPLES = """\
examples:
  kubectl llama get                       what serves in this namespace, where, and why not
  kubectl llama get -A                    in all namespaces
  kubectl llama get chat-70b -o json      one deployment for programs
  kubectl llama get --watch               follow it until Ctrl-C

"""

_EXPLAIN_EXAMPLES = """\
examples:
  kubectl llama explain chat-70b          every step to Ready, and what would unblock the first that fails
  kubectl llama explain chat-70b -o json  the same for programs
  until kubectl llama explain chat-70b; do sleep 10; done

"""

_DIFF_EXAMPLES = """\
examples:
  kubectl llama diff -f chat-70b.yaml            what kubectl apply would change, and whether engines restart
  kubectl llama diff -f all.yaml chat-70b        one of several deployments in a file
  kubectl llama diff -f chat-70b.yaml -o json    the same for programs

"""

_HISTORY_EXAMPLES = """\
examples:
  kubectl llama history chat-70b                 revisions, newest first: what changed, and what became of it

"""

_ROLLBACK_EXAMPLES = """\
examples:
  kubectl llama rollback chat-70b --dry-run          what would be written
  kubectl llama rollback chat-70b                    to the revision that served before
  kubectl llama rollback chat-70b --to-revision 3    to revision 3 of `kubectl llama history chat-70b`

"""

_DOCTOR_EXAMPLES = """\
examples:
  kubectl llama doctor                           what this cluster offers, and what is missing
  kubectl llama doctor -o json                   the same for programs

"""

_LICENSE_EXAMPLES = """\
examples:
  kubectl llama license template llama-3.3-70b-instruct  the record that the model needs, to be filled in
  kubectl llama license explain chat-70b         every rule of the license chain, and what would unblock it
  kubectl llama license report -A -o csv         what each deployment uses, by which right, with which duties
  kubectl llama license verify evidence.jsonl    whether recorded decisions are as they were written

"""

_LICENSE_TEMPLATE_EXAMPLES = """\
examples:
  kubectl llama license template llama-3.3-70b-instruct > acceptance.yaml   fill in what is empty, then kubectl apply -f
  kubectl llama license template deepseek-r1-distill-llama-70b -o json      the same for programs
"""
_LICENSE_EXPLAIN_EXAMPLES = """\
examples:
  kubectl llama license explain chat-70b                       a deployment of the cluster
  kubectl llama license explain -f chat-70b.yaml -f accept.yaml  a manifest, with the records beside it; needs no cluster
  kubectl llama license explain chat-70b -o json               the same for programs

It shows rules and evidence; it gives no legal advice.

"""

_LICENSE_REPORT_EXAMPLES = """\
examples:
  kubectl llama license report -A -o csv > licenses.csv  every deployment, for a spreadsheet
  kubectl llama license report chat-70b chat-8b          some deployments of the namespace
  kubectl llama license report -f all.yaml -o json       manifests, with the records beside them; needs no cluster

It shows duties and evidence; it gives no legal advice.

"""

_LICENSE_VERIFY_EXAMPLES = """\
examples:
  kubectl llama license verify evidence.jsonl.1 evidence.jsonl   rotated files, the oldest first
  kubectl logs -n llama-system deploy/llama-operator | kubectl llama license verify --mixed -
  kubectl llama license verify evidence.jsonl --head 593b...     with the last hash, which the operator's Lease has:
  kubectl get lease -n llama-system llama-operator \\
    -o jsonpath='{.metadata.annotations.llama-operator\\.io/license-evidence-head}'

  kubectl llama license verify evidence.jsonl --public-key public.pem   whether the operator's key signed each line

Changes, insertions, removals and another order are found in any case; lines cut off at the end only against --head, and a
log that was rewritten from end to end only against --head or --public-key.

"""


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="kubectl llama",
        description="Plan, run and inspect Llama models served by llama-operator.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EXIT_CODES,
    )
    parser.add_argument("--version", action="version", version=f"llama-operator {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_offline(commands)
    _add_reading(commands)
    _add_revisions(commands)
    _add_license(commands)
    return parser


def _add_offline(commands: _Commands) -> None:
    """Commands that need no cluster."""
    plan = _command(
        commands, "plan", "how a manifest would be sharded, and what it needs; changes nothing", _PLAN_EXAMPLES
    )
    _add_files(plan)
    plan.add_argument(
        "--nodes", metavar="FILE", help="nodes to plan for: output of kubectl get nodes, or a list of accelerators"
    )
    plan.add_argument(
        "--cluster", action="store_true", help="plan for the nodes of a live cluster; changes nothing there"
    )
    _add_cluster(plan)
    plan.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table", help="default: table")

    _add_cost(commands)

    run = _command(commands, "run", "serve a manifest on this machine, without Kubernetes", _RUN_EXAMPLES)
    _add_files(run)
    run.add_argument("--once", metavar="PROMPT", help="print the answer to PROMPT and the status table, then stop")
    run.add_argument(
        "--tour", action="store_true", help="show models, chat, streaming and scaling on a burst, then stop"
    )
    run.add_argument("--port", type=int, help="port of the URL (default: a free one)")
    run.add_argument("--weights", metavar="DIR", help="folder with the model's safetensors and tokenizer")

    models = _command(commands, "models", "what the catalog knows: models, sizes, licenses", "")
    models.add_argument("model", nargs="?", help="show one model")
    _add_output(models)


def _add_cost(commands: _Commands) -> None:
    cost = _command(commands, "cost", "what a manifest would cost, per hour and per token", _COST_EXAMPLES)
    _add_files(cost)
    cost.add_argument("--prices", metavar="FILE", help="your prices (default: list prices that come with it)")
    cost.add_argument("--api-price", metavar="USD", help="dollars per million tokens of an API to compare with")
    cost.add_argument(
        "--requests-per-minute", type=int, metavar="N", help="load (default: spec.objectives, else full load)"
    )
    cost.add_argument("--nodes", metavar="FILE", help="nodes to plan for, as in kubectl llama plan")
    _add_output(cost)


def _add_reading(commands: _Commands) -> None:
    """Commands that read a cluster."""
    get = _command(commands, "get", "what serves in the cluster, where, and why not", _GET_EXAMPLES)
    get.add_argument("name", nargs="?", help="show one deployment")
    get.add_argument("-A", "--all-namespaces", action="store_true", help="in all namespaces")
    get.add_argument("-w", "--watch", action="store_true", help="show every change until Ctrl-C")
    _add_cluster(get)
    _add_output(get)

    explain = _command(
        commands, "explain", "why a deployment is not Ready, step by step, and what would unblock it", _EXPLAIN_EXAMPLES
    )
    explain.add_argument("name", help="the deployment")
    _add_cluster(explain)
    _add_output(explain)

    doctor = _command(
        commands, "doctor", "what the cluster offers to llama-operator, and what is missing", _DOCTOR_EXAMPLES
    )
    _add_cluster(doctor, namespaced=False)
    _add_output(doctor)


def _add_revisions(commands: _Commands) -> None:
    """Commands about the way from one spec to the next."""
    diff = _command(
        commands, "diff", "what applying a manifest would change, live or by a restart; changes nothing", _DIFF_EXAMPLES
    )
    diff.add_argument("name", nargs="?", help="which LlamaDeployment, where FILE holds several")
    _add_file(diff)
    _add_cluster(diff)
    _add_output(diff)

    history = _command(commands, "history", "the revisions of a deployment, newest first", _HISTORY_EXAMPLES)
    history.add_argument("name", help="the deployment")
    _add_cluster(history)
    _add_output(history)

    rollback = _command(
        commands, "rollback", "write an older revision back into the spec of a deployment", _ROLLBACK_EXAMPLES
    )
    rollback.add_argument("name", help="the deployment")
    rollback.add_argument(
        "--to-revision", type=int, metavar="N", help="number in the history (default: the one that served before)"
    )
    rollback.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")
    _add_cluster(rollback)
    _add_output(rollback)


def _add_license(commands: _Commands) -> None:
    """Commands about licenses and their evidence."""
    group = _command(
        commands, "license", "which rules apply to a model, by which right it runs, and the evidence", _LICENSE_EXAMPLES
    )
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")

    template = _command(
        actions,
        "template",
        "the LicenseAcceptance that a model needs, with versions and text hashes; what only you know stays empty",
        _LICENSE_TEMPLATE_EXAMPLES,
    )
    template.add_argument("model", metavar="MODEL", help="a model of `kubectl llama models`")
    template.add_argument("-o", "--output", choices=("yaml", "json"), default="yaml", help="default: yaml")

    explain = _command(
        actions,
        "explain",
        "every rule of the license chain with its outcome, its clause, and what would unblock it",
        _LICENSE_EXPLAIN_EXAMPLES,
    )
    explain.add_argument("name", nargs="?", help="the deployment; with -f which of the files")
    _add_file(explain, required=False)
    _add_cluster(explain)
    _add_output(explain)

    report = _command(
        actions,
        "report",
        "for auditors: tier, families, acceptance, duties and verdict of each deployment",
        _LICENSE_REPORT_EXAMPLES,
    )
    report.add_argument("names", nargs="*", metavar="NAME", help="deployments (default: all of the namespace)")
    report.add_argument("-A", "--all-namespaces", action="store_true", help="in all namespaces")
    _add_file(report, required=False)
    _add_cluster(report)
    report.add_argument("-o", "--output", choices=("table", "json", "csv"), default="table", help="default: table")

    verify = _command(
        actions,
        "verify",
        "whether recorded license decisions were changed, removed, inserted or reordered",
        _LICENSE_VERIFY_EXAMPLES,
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
    _add_output(verify)


def _command(commands: _Commands, name: str, summary: str, examples: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=examples + _EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def _add_files(parser: argparse.ArgumentParser) -> None:
    _add_file(parser)
    parser.add_argument("--name", help="which LlamaDeployment, where FILE holds several")


def _add_file(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    parser.add_argument(
        "-f",
        "--file",
        action="append",
        required=required,
        metavar="FILE",
        help="manifest, - for standard input; repeatable",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table", help="default: table")


def _add_cluster(parser: argparse.ArgumentParser, *, namespaced: bool = True) -> None:
    if namespaced:
        parser.add_argument("-n", "--namespace", help="namespace (default: that of the context)")
    parser.add_argument("--context", help="context of the kubeconfig (default: the current one)")
    parser.add_argument(
        "--kubeconfig", type=Path, metavar="FILE", help="kubeconfig (default: $KUBECONFIG, then ~/.kube/config)"
    )
