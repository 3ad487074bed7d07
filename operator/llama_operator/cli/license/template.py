"""`kubectl llama license template`: a LicenseAcceptance for a model, with all that the catalog knows filled in.

What only the licensee knows stays empty, so that no API server takes the record before a person has filled it in.
"""

import argparse
import difflib
import json
import sys
from collections.abc import Sequence
from typing import Any

from llama_operator import catalog
from llama_operator.api.manifest import WHAT_BELONGS, parse_live
from llama_operator.api.meta import API_VERSION
from llama_operator.api.v1alpha1.llamamodel import LlamaModel
from llama_operator.catalog.licenses import LicenseFamily
from llama_operator.cli.license.judged import DISCLAIMER
from llama_operator.cli.shared import files, yaml_text
from llama_operator.cli.shared.connection import Connection, Connector, list_or_explain, on_cluster
from llama_operator.cli.shared.exit_codes import EXIT_OK
from llama_operator.decide.license import ModelFacts
from llama_operator.decide.license.lineage import Lineages
from llama_operator.decide.license.rules.naming import prefixes
from llama_operator.errors import InvalidManifestError
from llama_operator.kube import kinds

_WHOLE_DATE = len("YYYY-MM-DD")
_CLOSE = 3
_TO_FILL = (
    "legalEntity",
    "domicile",
    "acceptedBy",
    "acceptedOn",
    "evidence",
    "monthlyActiveUsers.count",
    "monthlyActiveUsers.attestedBy",
    "monthlyActiveUsers.attestedOn",
    "namespaces",
)
"""Fields that stay empty, in the order of the record."""


def command(name: str, models: Sequence[LlamaModel], *, as_json: bool) -> int:
    """Print the records that the model `name` needs, one for each license version; returns the exit code.

    Args:
        name: A model of the catalog, or one of `models`.
        models: LlamaModels of files or of a cluster; their lineage decides.
        as_json: Whether to print a List as JSON in place of YAML.

    Raises:
        InvalidManifestError: If there is no such model, or its lineage is not known.
    """
    facts = _facts(name, models)
    records = [record(family) for family in facts.needing_acceptance]
    if as_json:
        json.dump({"apiVersion": "v1", "kind": "List", "items": records}, sys.stdout, indent=2)
        print()
    elif records:
        print(yaml_text.dump(records), end="")
    _explain(facts)
    return EXIT_OK


async def on_a_cluster(connection: Connection, name: str, *, as_json: bool) -> int:
    """Print the records for a model of the catalog, or for a LlamaModel of a cluster; returns the exit code.

    Raises:
        InvalidManifestError: If there is no such model, its lineage is not known, or the LlamaModel is invalid.
    """
    live = (await list_or_explain(connection.cluster, kinds.LLAMA_MODEL, None)).items
    models = []
    for obj in live:
        try:
            models.append(parse_live(LlamaModel, obj))
        except InvalidManifestError:
            if obj["metadata"]["name"] == name:
                raise
    return command(name, models, as_json=as_json)


def _facts(name: str, models: Sequence[LlamaModel]) -> ModelFacts:
    known = catalog.load()
    added = [model.metadata.name for model in models]
    if name not in {*added, *(model.id for model in known.models)}:
        close = dict.fromkeys((*difflib.get_close_matches(name, added, n=_CLOSE), *known.nearest(name)))
        problem = f"no model is called {name}" + (f"; close: {', '.join(close)}" if close else "")
        advice = "a LlamaModel comes from its file with -f, or from the cluster with --cluster; `kubectl llama models` lists the catalog"
        raise InvalidManifestError.of("the command line", "MODEL", problem, advice)
    facts = Lineages(known, models).resolve(name)
    if facts.unresolved:
        cure = "give the LlamaModels that it was made of with -f too, or correct its lineage"
        raise InvalidManifestError.of(f"LlamaModel {name}", "spec.lineage", "; ".join(facts.unresolved), cure)
    return facts


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


def _explain(facts: ModelFacts) -> None:
    """Say on standard error what is left to do: standard output is the file."""
    families = facts.needing_acceptance
    if not families:
        print(f"{facts.name}: no license of it has to be accepted in a record", file=sys.stderr)
        return
    lines = [line for family in families for line in _to_read(family)]
    lines += ["", "Fill in; the API server refuses the record before:"]
    counted = any(family.active_users_month for family in families)
    fields = [field for field in _TO_FILL if counted or not field.startswith("monthly")]
    lines += [f"  {field:<31}{WHAT_BELONGS[f'spec.{field}']}" for field in fields]
    lines += ["", "Then kubectl apply -f it, and in the LlamaDeployment under spec.license:"]
    lines += [f"  {'acceptance':<31}{families[0].id.replace('.', '-')}, the name of {_which(families)}"]
    if shown := list(dict.fromkeys(family.attribution for family in families if family.attribution)):
        lines += [f"  {'attributionURL':<31}the page that shows {' and '.join(map(repr, shown))}"]
    if facts.derivations and (starts := prefixes(facts)):
        lines += ["", f"The name under which it is served (servedName) begins with {' or '.join(starts)}."]
    print("\n".join((*lines, "", DISCLAIMER)), file=sys.stderr)


def _to_read(family: LicenseFamily) -> list[str]:
    lines = ["", f"{family.title}: read it, and its acceptable use policy, before you accept:"]
    lines += [f"  {source}" for source in family.source]
    if len(family.license_text_hashes) > 1:
        lines.append("  It was published in several wordings: take the hash of yours (docs/licenses.md).")
    return lines


def _which(families: Sequence[LicenseFamily]) -> str:
    return "the record" if len(families) == 1 else "one of the records; the others of the same entity count too"


def run(arguments: argparse.Namespace, connector: Connector | None) -> int:
    """Run the command as the command line asks for it; returns the exit code."""
    name, as_json = arguments.model, arguments.output == "json"
    asks_cluster = arguments.cluster or arguments.context or arguments.kubeconfig
    if not asks_cluster:
        return command(name, files.models(arguments.file or []), as_json=as_json)
    if arguments.file:
        problem = "and --cluster both say which LlamaModels there are"
        raise InvalidManifestError.of("the command line", "-f", problem, "leave one of them out")
    return on_cluster(arguments, connector, lambda cluster: on_a_cluster(cluster, name, as_json=as_json))
