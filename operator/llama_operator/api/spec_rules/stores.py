"""Cross-field rules of the stores. Part of `rules.RULES`."""

from typing import Final

from llama_operator.api.rule import Rule
from llama_operator.api.v1alpha1.stores import AuthorityFile

STORE_RULES: Final[tuple[Rule, ...]] = (
    Rule(
        model=AuthorityFile,
        field="configMap",
        cel="has(self.configMap) != has(self.secret)",
        holds=lambda authority: (authority.config_map is None) != (authority.secret is None),
        message="must be set, or secret in its place, and not both; name the one object that has the certificates of the authority",
    ),
)
