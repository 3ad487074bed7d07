"""Objects as the YAML that a person would write: no anchors, long strings as blocks. Used by `plan -o yaml` and tests."""

from collections.abc import Iterable
from typing import Any

import yaml
from typing_extensions import override

from llama_operator.cli.shared import terminal


class _Dumper(yaml.SafeDumper):
    @override
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    # Only between double quotes the escapes below mean the characters themselves.
    style = '"' if terminal.acts(value) else "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def dump(documents: Iterable[Any]) -> str:
    """Render one document after the other."""
    text: str = yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    return terminal.plain(text)
