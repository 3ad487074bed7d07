"""`kubectl llama license template`: a LicenseAcceptance for a model, with all that the catalog knows filled in.

What only the licensee knows stays empty, so that no API server takes the record before a person has filled it in.
"""

import argparse
import json
import sys
from typing import Any

from llama_operator import catalog
from llama_operator.api.meta import API_VERSION
from llama_operator.catalog.licenses import LicenseFamily
from llama_operator.cli.license.judged import DISCLAIMER
from llama_operator.cli.shared import yaml_text
from llama_operator.cli.shared.exit_codes import EXIT_OK
from llama_operator.errors import FieldProblem, InvalidManifestError

_WHOLE_DATE = len("YYYY-MM-DD")
_TO_FILL = {
    "legalEntity": "the legal entity that accepts",
    "domicile": "its country, as ISO 3166 alpha-2 code",
    "acceptedBy": "who accepts for it",
    "acceptedOn": "when, YYYY-MM-DD",
    "evidence": "where the proof is kept; may stay empty",
    "monthlyActiveUsers": "users of all its products and affiliates in that month: count, attestedBy, attestedOn",
    "namespaces": "namespaces of that entity, whose deployments it covers",
}


def command(name: str, *, as_json: bool) -> int:
    """Print the records that the model `name` needs, one for each license version; returns the exit code.

    Raises:
        InvalidManifestError: If the catalog does not have the model.
    """
    known = catalog.load()
    try:
        model = known.model(name)
    except catalog.UnknownModelError as error:
        advice = "for a model of your own name the model that it was made of"
        raise InvalidManifestError("the command line", [FieldProblem("MODEL", str(error), advice)]) from error
    families = [family for family in known.license_families(model) if family.acceptance_required]
    records = [record(family) for family in families]
    if as_json:
        json.dump({"apiVersion": "v1", "kind": "List", "items": records}, sys.stdout, indent=2)
        print()
    elif records:
        print(yaml_text.dump(records), end="")
    _explain(name, families)
    return EXIT_OK


def record(family: LicenseFamily) -> dict[str, Any]:
    """The record for one license version, as far as it is known."""
    users = {"month": family.active_users_month, "count": None, "attestedBy": "", "attestedOn": ""}
    return {
        "apiVersion": API_VERSION,
        "kind": "LicenseAcceptance",
        "metadata": {"name": family.id.replace(".", "-")},
        "spec": {
            "families": [family.id],
            **({"versionDate": family.version_date} if len(family.version_date or "") == _WHOLE_DATE else {}),
            "textHashes": [*family.license_text_hashes[:1], *family.policy_text_hashes[:1]],
            "legalEntity": "",
            "domicile": "",
            "acceptedBy": "",
            "acceptedOn": "",
            **({} if family.active_users_month is None else {"monthlyActiveUsers": users}),
            "evidence": "",
            "namespaces": [],
        },
    }


def _explain(name: str, families: list[LicenseFamily]) -> None:
    """Say on standard error what is left to do: standard output is the file."""
    if not families:
        print(f"{name}: no license of it has to be accepted in a record", file=sys.stderr)
        return
    for family in families:
        print(f"\n{family.title}: read it, and its acceptable use policy, before you accept:", file=sys.stderr)
        for source in family.source:
            print(f"  {source}", file=sys.stderr)
        if len(family.license_text_hashes) > 1:
            print("  It was published in several wordings: take the hash of yours (docs/licenses.md).", file=sys.stderr)
    print("\nFill in; the API server refuses the record before:", file=sys.stderr)
    counted = any(family.active_users_month for family in families)
    for field, what in _TO_FILL.items():
        if field == "monthlyActiveUsers" and not counted:
            continue
        print(f"  {field:<20}{what}", file=sys.stderr)
    print(f"\nThen kubectl apply -f it. {DISCLAIMER}", file=sys.stderr)


def run(arguments: argparse.Namespace, _connector: object) -> int:
    """Run the command as the command line asks for it; returns the exit code."""
    return command(arguments.model, as_json=arguments.output == "json")
