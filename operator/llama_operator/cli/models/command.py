"""`kubectl llama models`: the catalog on the command line."""

import argparse
import json
import sys
from typing import Any

from llama_operator import catalog
from llama_operator.catalog.models import Model
from llama_operator.cli.shared.exit_codes import EXIT_OK
from llama_operator.errors import FieldProblem, InvalidManifestError


def command(name: str | None, *, output: str) -> int:
    """Print all models, or all facts of one."""
    known = catalog.load()
    try:
        models = known.models if name is None else (known.model(name),)
    except catalog.UnknownModelError as error:
        raise InvalidManifestError("the command line", [FieldProblem("MODEL", str(error))]) from error
    if output == "json":
        json.dump([model.model_dump(mode="json") for model in models], sys.stdout, indent=2)
        print()
        return EXIT_OK
    _table(models)
    return EXIT_OK


def _table(models: tuple[Model, ...]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("MODEL", "PARAMETERS", "CONTEXT", "LICENSE", "WEIGHTS"):
        table.add_column(
            heading, justify="right" if heading in {"PARAMETERS", "CONTEXT"} else "left", no_wrap=heading == "MODEL"
        )
    for model in models:
        table.add_row(
            model.id,
            f"{model.params_total / 1e9:.2f} B",
            f"{model.context_length:,}",
            ", ".join(model.license_families),
            _sizes(model),
        )
    Console().print(table)


def _sizes(model: Model) -> str:
    smallest: dict[str, Any] = {}
    for variant in model.variants:
        smallest.setdefault(variant.precision, variant.weight_bytes)
    return ", ".join(f"{precision} {size / 1e9:.1f} GB" for precision, size in smallest.items())


def run(arguments: argparse.Namespace, _connector: object) -> int:
    """Run the command as the command line asks for it; returns the exit code."""
    return command(arguments.model, output=arguments.output)
