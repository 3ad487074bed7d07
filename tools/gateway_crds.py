"""Puts the standard CRDs of Gateway API into the user's cache; prints the folder.

Called by `make test`: the HTTPRoutes that we render are checked against Gateway API's own schema.
"""

import sys

from module_crds import Module, NotToBeHadError

VERSION = "1.4.1"
MODULE = Module(
    "sigs.k8s.io/gateway-api",
    "gateway-crds",
    "config/crd/standard/*_httproutes.yaml",
    {VERSION: "h1:NPxFutNkKNa8UfLd2CMlEuhIPMQgDQ6DXNKG9sHbJU8="},
)


def main() -> int:
    """Fetch them and print the folder."""
    try:
        print(MODULE.ensure(VERSION))
    except NotToBeHadError as error:
        print(f"Gateway API's module cannot be had: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
