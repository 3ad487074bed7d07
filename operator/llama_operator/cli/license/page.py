"""The license report as one HTML page to read, print and file: self-contained, without scripts. Called by `cli.license.report`.

Everything that a user wrote is escaped; the page loads nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from llama_operator.api.meta import rfc3339
from llama_operator.cli.license.judged import DISCLAIMER

_STYLE = """\
body { font: 10.5pt/1.4 Georgia, serif; color: #111; max-width: 60em; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; } h2 { font-size: 1.3em; border-bottom: 2px solid #111; margin-top: 2em; } h3 { font-size: 1.05em; }
table { border-collapse: collapse; width: 100%; margin: .5em 0 1em; table-layout: fixed; }
th, td { border: 1px solid #999; padding: .25em .5em; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
th { width: 13em; background: #f2f2f2; font-weight: normal; }
.verdict { font-weight: bold; } .note { color: #444; font-size: .9em; }
@page { size: A4; margin: 18mm; }
@media print {
  body { margin: 0; max-width: none; padding: 0; } section { break-before: page; } section:first-of-type { break-before: auto; }
  tr, h2, h3 { break-inside: avoid; } h2, h3 { break-after: avoid; } th { print-color-adjust: exact; }
}
"""
_VERDICTS = {"Allow": "allowed", "Deny": "refused", "NotChecked": "not checked: the acceptance was not looked up"}
_FACTS = (
    ("model", "Model"),
    ("tier", "Tier"),
    ("families", "License versions"),
    ("source", "Weights"),
    ("commit", "Commit"),
    ("modelDigest", "Digest of the files"),
    ("image", "Image"),
    ("purpose", "Purpose"),
    ("useCase", "Field of use"),
    ("guardModel", "Guard model"),
    ("trainedModels", "Models that answers improve"),
    ("attribution", "Lines to show"),
    ("attributionURL", "Page that shows them"),
    ("notice", "Notice"),
    ("namePrefixes", "Names begin with"),
    ("outputTerms", "Terms of answers"),
    ("rules", "Rules"),
    ("textHashes", "Texts that count (SHA-256)"),
)
RECORD_LABELS = (
    ("state", "State"),
    ("legalEntity", "Legal entity"),
    ("domicile", "Domicile"),
    ("receivedAs", "Received the model as"),
    ("acceptedBy", "Accepted by"),
    ("acceptedOn", "Accepted on"),
    ("document", "Document"),
    ("families", "License versions"),
    ("versionDate", "Date of the version"),
    ("acceptedTextHashes", "Accepted texts (SHA-256)"),
    ("catalogTextHashes", "Texts of the catalog (SHA-256)"),
    ("usersMonth", "Month of the users"),
    ("usersCount", "Monthly active users, affiliates included"),
    ("usersAttestedBy", "Users attested by"),
    ("usersAttestedOn", "Users attested on"),
    ("grantReference", "Grant of Meta"),
    ("grantedOn", "Granted on"),
    ("grantExpiresOn", "Grant ends on"),
    ("namespaces", "Namespaces"),
    ("tradeListCheckedOn", "Trade lists checked on"),
    ("reviewDueOn", "Policy to be read again on"),
    ("supersededBy", "Superseded by"),
    ("terminatedOn", "Ended on"),
    ("deletionConfirmedBy", "Deletion confirmed by"),
    ("deletionConfirmedOn", "Deletion confirmed on"),
    ("deleted", "What was deleted"),
    ("deletionEvidence", "Proof of the deletion"),
    ("weightsDeleted", "Copies deleted"),
    ("contradicted", "Contradicted by other records"),
)
REVISION_LABELS = (
    ("model", "Model"),
    ("source", "Weights"),
    ("commit", "Commit"),
    ("image", "Image"),
    ("created", "Created"),
    ("servedFrom", "Served from"),
    ("servedUntil", "Served until"),
    ("trafficSince", "Has the traffic since"),
    ("acceptance", "Acceptance that it named"),
    ("verdict", "Verdict"),
    ("reason", "Reason"),
    ("licenseEnd", "End of the license"),
)


def page(rows: Sequence[Mapping[str, Any]], warnings: Iterable[str], now: datetime) -> str:
    """Write the page.

    Args:
        rows: Deployments, as in the JSON of the report.
        warnings: What could not be read.
        now: Time of the report, in UTC.
    """
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f"<title>License report of {rfc3339(now)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>",
        f"<h1>License report</h1>\n<p>{len(rows)} deployment(s), {rfc3339(now)}</p>",
        *(f'<p class="note"><strong>Warning:</strong> {escape(text)}</p>' for text in warnings),
        *(line for row in rows for line in _deployment(row)),
        f'<p class="note">{escape(DISCLAIMER)}</p>\n</body>\n</html>\n',
    ]
    return "\n".join(parts)


def _deployment(row: Mapping[str, Any]) -> Iterator[str]:
    yield f"<section>\n<h2>{escape(row['namespace'])}/{escape(row['name'])}</h2>"
    verdict = _VERDICTS[row["verdict"]]
    yield f'<p><span class="verdict">{escape(verdict)}</span> ({escape(row["reason"])}): {escape(row["message"])}</p>'
    yield _table(row, _FACTS)
    for record in row["records"]:
        yield f"<h3>Acceptance {escape(record['name'])}</h3>"
        yield _table(record, RECORD_LABELS)
    for revision in row["revisions"]:
        traffic = ", has the traffic" if revision["traffic"] else ""
        yield f"<h3>Revision {escape(revision['revision'])}{traffic}</h3>"
        yield _table(revision, REVISION_LABELS)
    if row["attested"]:
        said = [
            f"{one['rule']}: {one['statement']} ({one['by']}, {one['on']}, {one['acceptance']})"
            for one in row["attested"]
        ]
        yield f"<h3>Attested, not checked</h3>\n<ul>{''.join(f'<li>{escape(text)}</li>' for text in said)}</ul>"
    yield "</section>"


def _table(facts: Mapping[str, Any], fields: Iterable[tuple[str, str]]) -> str:
    """The facts that are known, a line each; an empty one of the record is left out."""
    known = ((label, _text(facts[name])) for name, label in fields)
    lines = "\n".join(f"<tr><th>{escape(label)}</th><td>{text}</td></tr>" for label, text in known if text)
    return f"<table>\n{lines}\n</table>"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "<br>".join(escape(str(item)) for item in value)
    return "" if value is None else escape(str(value))
