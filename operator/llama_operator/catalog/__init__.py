"""Facts about models, licenses and accelerators, as data files that are validated once.

    data/*.json -> models, accelerators, licenses: typed facts
                   packaged: reads each file once
                   formulas: sizes from shapes, where nothing is published
                   registry: the catalog as one value

Figures come from published files, each entry names its sources; docs/catalog.md says how to read them.
"""

from llama_operator.catalog.registry import (
    Catalog,
    CatalogError,
    UnknownAcceleratorError,
    UnknownLicenseError,
    UnknownModelError,
    UnknownNameError,
    load,
)

__all__ = [
    "Catalog",
    "CatalogError",
    "UnknownAcceleratorError",
    "UnknownLicenseError",
    "UnknownModelError",
    "UnknownNameError",
    "load",
]
