"""`kubectl llama license report`: for auditors, what each deployment uses, by which right, with which duties."""

import argparse
import csv
import sys
from datetime import UTC, datetime
from typing import Any

from llama_operator.cli.license import account, page
from llama_operator.cli.license import judged as license_judged
from llama_operator.cli.license.judged import DISCLAIMER, Judged, Judgments
from llama_operator.cli.shared import output
from llama_operator.cli.shared.connection import Connection, Connector, on_cluster
from llama_operator.cli.shared.exit_codes import EXIT_OK
from llama_operator.decide.license.gather import guard_of
from llama_operator.errors import FieldProblem, InvalidManifestError
from llama_operator.evidence.weights import what_runs

_COLUMNS = (
    "namespace",
    "name",
    "model",
    "verdict",
    "reason",
    "tier",
    "families",
    "acceptances",
    "legalEntities",
    "purpose",
    "useCase",
    "attribution",
    "attributionURL",
    "notice",
    "namePrefixes",
    "outputTerms",
    "rules",
    "textHashes",
    "modelDigest",
    "source",
    "commit",
    "image",
    "generation",
    "message",
    "guardModel",
    "trainedModels",
)
"""Facts of one value or one list, in the order of the CSV; the same names as in the JSON."""
_HEADINGS = (
    *_COLUMNS,
    *(f"records.{field}" for field in account.RECORD_FIELDS),
    *(f"revisions.{field}" for field in account.REVISION_FIELDS),
)
"""Columns of the CSV: `records.acceptedBy` has that field of every record."""
_COLORS = {"Allow": "green", "NotChecked": "bold yellow", "Deny": "bold red"}
_DAY = len("YYYY-MM-DD")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def report_files(paths: list[str], names: list[str], *, form: str) -> int:
    """Report on the deployments of `paths`; returns the exit code."""
    judgments = license_judged.from_files(paths)
    chosen = tuple(judged for judged in judgments.judged if not names or judged.deployment.metadata.name in names)
    return _show(Judgments(chosen), form)


async def report(connection: Connection, names: list[str], *, all_namespaces: bool, form: str) -> int:
    """Report on the deployments of a cluster; returns the exit code.

    Raises:
        InvalidManifestError: If names are given for all namespaces: they belong to one.
    """
    if names and all_namespaces:
        problem = FieldProblem("NAME", "belongs to one namespace, and -A says all", "leave one of them out")
        raise InvalidManifestError("the command line", [problem])
    judgments = await license_judged.from_cluster(connection, names, all_namespaces=all_namespaces)
    return _show(judgments, form)


def document(judged: Judged) -> dict[str, Any]:
    """One deployment as JSON; a stable interface, documented in docs/cli.md."""
    metadata, spec, verdict = judged.deployment.metadata, judged.deployment.spec, judged.verdict
    evidence, duties = (verdict.evidence, verdict.duties) if verdict else (None, None)
    used = evidence.acceptances if evidence else ()
    runs = what_runs(judged.observed, judged.decision, default_image="")
    return {
        "namespace": metadata.namespace,
        "name": metadata.name,
        "model": spec.model.name,
        "verdict": _verdict(judged),
        "reason": judged.reason,
        "tier": str(verdict.tier) if verdict else "Unresolved",
        "families": list(verdict.families) if verdict else [],
        "acceptances": list(dict.fromkeys(record.name for record in used)),
        "legalEntities": list(dict.fromkeys(record.legal_entity for record in used)),
        "purpose": str(spec.license.purpose),
        "useCase": str(spec.license.use_case),
        "attribution": list(duties.attributions) if duties else [],
        "attributionURL": spec.license.attribution_url or "",
        "notice": list(duties.notices) if duties else [],
        "namePrefixes": list(duties.name_prefixes) if duties else [],
        "outputTerms": ", ".join(duties.output_terms) if duties else "",
        "rules": list(duties.rules) if duties else [],
        "textHashes": list(evidence.text_hashes) if evidence else [],
        "modelDigest": evidence.model_digest if evidence else "",
        "source": runs.get("modelSource") or (evidence.source if evidence else ""),
        "commit": runs["modelCommit"],
        "image": runs["image"],
        "generation": metadata.generation,
        "message": judged.message,
        "guardModel": guard_of(spec) or "",
        "trainedModels": list(spec.license.trained_models),
        "records": account.records(judged),
        "revisions": account.revisions(judged),
        "attested": account.attested(judged),
    }


def _verdict(judged: Judged) -> str:
    if judged.unchecked:
        return "NotChecked"
    return "Allow" if judged.allowed else "Deny"


def _show(judgments: Judgments, form: str) -> int:
    rows = [document(judged) for judged in judgments.judged]
    warnings = (*(f"{error} cannot be read" for error in judgments.invalid), *judgments.unknown)
    match form:
        case "json":
            output.print_json(
                {
                    "items": rows,
                    "invalid": [str(error) for error in judgments.invalid],
                    "unknown": list(judgments.unknown),
                    "disclaimer": DISCLAIMER,
                }
            )
        case "csv":
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(_HEADINGS)
            writer.writerows([_cell(_value(row, heading)) for heading in _HEADINGS] for row in rows)
        case "html":
            sys.stdout.write(page.page(rows, warnings, datetime.now(UTC)))
        case _:
            _print(rows)
    if form != "json":
        for text in warnings:
            print(f"warning: {text}", file=sys.stderr)
    return EXIT_OK


def _value(row: dict[str, Any], heading: str) -> Any:
    """What stands below a heading; `records.acceptedBy` is that field of every record, in their order."""
    part, _, field = heading.partition(".")
    return [_text(one[field]) for one in row[part]] if field else row[part]


def _cell(value: Any) -> str:
    """One cell; what a spreadsheet would take for a formula becomes text."""
    text = "; ".join(value) if isinstance(value, list) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _text(value: Any) -> str:
    """One fact of a record or revision: hashes of one record stand together, so that `; ` parts the records."""
    if isinstance(value, list):
        return " ".join(value)
    return "" if value is None else str(value)


def _print(rows: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    if not rows:
        print("No LlamaDeployment.")
        return
    console = output.console(wide=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("DEPLOYMENT", "MODEL", "VERDICT", "TIER", "FAMILIES", "ACCEPTANCE", "SERVES", "DUTIES"):
        table.add_column(heading, no_wrap=heading in {"DEPLOYMENT", "VERDICT", "TIER"}, overflow="fold")
    for row in rows:
        table.add_row(
            f"{row['namespace']}/{row['name']}",
            row["model"],
            Text(row["verdict"] if row["verdict"] == "Allow" else row["reason"], style=_COLORS[row["verdict"]]),
            row["tier"],
            ", ".join(row["families"]),
            ", ".join(_accepted(row)),
            next((_serves(revision) for revision in row["revisions"] if revision["traffic"]), ""),
            _duties(row),
        )
    console.print(table)
    console.print(Text(DISCLAIMER, style="dim"), soft_wrap=True)


def _accepted(row: dict[str, Any]) -> list[str]:
    told = {
        record["name"]: f"{record['name']} ({record['legalEntity']}, {record['acceptedOn']}{_confirmed(record)})"
        for record in row["records"]
    }
    ended = (record["name"] for record in row["records"] if record["deletionConfirmedBy"])
    return [told.get(name, name) for name in dict.fromkeys((*row["acceptances"], *ended))]


def _confirmed(record: dict[str, Any]) -> str:
    by, on = record["deletionConfirmedBy"], record["deletionConfirmedOn"]
    return f"; deletion confirmed by {by} on {on}" if by else ""


def _serves(revision: dict[str, Any]) -> str:
    since = f" since {revision['servedFrom'][:_DAY]}" if revision["servedFrom"] else ""
    return f"{revision['revision']}{since}"


def _duties(row: dict[str, Any]) -> str:
    duties = [f'show "{line}"' for line in row["attribution"]]
    duties += [f"on {row['attributionURL']}"] if row["attributionURL"] and duties else []
    duties += ["ship the notice"] if row["notice"] else []
    duties += [f"derived names begin with {' or '.join(row['namePrefixes'])}"] if row["namePrefixes"] else []
    duties += [f"answers: {row['outputTerms']}"] if row["outputTerms"] else []
    return ", ".join(duties)


def run(arguments: argparse.Namespace, connector: Connector | None) -> int:
    """Run the command as the command line asks for it; returns the exit code."""
    if arguments.file:
        return report_files(arguments.file, arguments.names, form=arguments.output)
    return on_cluster(
        arguments,
        connector,
        lambda cluster: report(
            cluster, arguments.names, all_namespaces=arguments.all_namespaces, form=arguments.output
        ),
    )
