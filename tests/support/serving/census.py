"""Every route that vLLM's application has, read out of its sources. For the tests of the door and those of tenants.

Read and not imported: the import of vLLM takes seconds, and an application without an engine lacks some of its routes.
"""

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path


def routes_of_vllm() -> Iterator[tuple[str, str]]:
    """Method and path of each route in the sources of vLLM's application, those of other tasks and modes included."""
    spec = importlib.util.find_spec("vllm")
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent / "entrypoints"
    for file in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            name, first = node.func.attr, node.args[0]
            if not (isinstance(first, ast.Constant) and isinstance(first.value, str) and first.value.startswith("/")):
                continue
            path = re.sub(r"\{[^}]*\}", "x", first.value)
            if name in {"get", "post", "put", "delete", "patch", "head"}:
                yield name.upper(), path
            elif name in {"websocket", "mount", "add_api_route", "add_route", "api_route"}:
                yield from ((method, path) for method in ("GET", "POST"))


ROUTES = sorted(set(routes_of_vllm()) | {("GET", path) for path in ("/metrics", "/docs", "/openapi.json", "/redoc")})
"""All of them, with those that FastAPI adds."""
