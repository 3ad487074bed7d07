"""`kubectl llama models`: the catalog on the command line."""

import argparse
from typing import Any

from llama_operator import catalog
from llama_operator.catalog.models import Model
from llama_operator.cli.shared import output
from llama_operator.cli.shared.exit_codes import EXIT_OK
from llama_operator.errors import InvalidManifestError


def command(name: str | None, *, as_json: bool) -> int:
    """Print all models, or all facts of one."""
    known = catalog.load()
    try:
        models = known.models if name is None else (known.model(name),)
    except catalog.UnknownModelError as error:
        raise InvalidManifestError.of("the command line", "MODEL", str(error)) from error
    if as_json:
        output.print_json([model.model_dump(mode="json") for model in models])
    else:
        _table(models)
        if name is not None and models[0].publisher_limits:
            console = output.console()
            console.print(
                f"model card: {models[0].publisher_limits} No term of the license.", soft_wrap=True, markup=False
            )
    return EXIT_OK


def _table(models: tuple[Model, ...]) -> None:
    whole = ("MODEL", "PARAMETERS", "CONTEXT")
    table = output.table(*whole, "LICENSE", "WEIGHTS", right=("PARAMETERS", "CONTEXT"), whole=whole)
    for model in models:
        table.add_row(
            model.id,
            f"{model.params_total / 1e9:.2f} B",
            f"{model.context_length:,}",
            ", ".join(model.license_families),
            _sizes(model),
        )
    output.show_table(output.console(), table)


def _sizes(model: Model) -> str:
    smallest: dict[str, Any] = {}
    for variant in model.variants:
        smallest.setdefault(variant.precision, variant.weight_bytes)
    return ", ".join(f"{precision} {size / 1e9:.1f} GB" for precision, size in smallest.items())


def run(arguments: argparse.Namespace, _connector: object) -> int:
    """Run the command as the command line asks for it; returns the exit code."""
    return command(arguments.model, as_json=arguments.output == "json")
