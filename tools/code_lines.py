"""Counts lines of product code: no blank lines, comments or docstrings. Run by hand: `python tools/code_lines.py [ROOT]`.

A move or a clean-up must not make the product longer; the figures before and after stand in `docs/designs/0012-rooms.md`.
"""

import ast
import io
import sys
import tokenize
from pathlib import Path

PRODUCT = ("operator", "serving")
_IGNORED = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
    tokenize.ENCODING,
}


def code_lines(source: str) -> int:
    """Return the number of lines of `source` that hold code."""
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in _IGNORED
        for line in range(token.start[0], token.end[0] + 1)
    }
    texts = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    return len(lines - texts)


def main(root: Path) -> int:
    """Print the lines of each part of the product, and their sum."""
    total = 0
    for part in PRODUCT:
        files = sorted((root / part).rglob("*.py"))
        lines = sum(code_lines(path.read_text(encoding="utf-8")) for path in files)
        print(f"{part:10} {len(files):4} modules {lines:6} lines")
        total += lines
    print(f"{'together':10} {total:17} lines")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]))
