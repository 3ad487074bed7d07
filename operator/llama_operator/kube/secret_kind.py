"""The kind Secret, apart from `kinds`, so that the operator cannot address one. Called by `kubectl llama key` only.

That command reads and patches a Secret of a team, by the right of its user. Nothing creates one: `apply` takes the kinds of
`kinds` only. import-linter holds who may import this module (`pyproject.toml`).
"""

from typing import Final

from llama_operator.kube.port import Kind

SECRET: Final = Kind("v1", "Secret", "secrets")
