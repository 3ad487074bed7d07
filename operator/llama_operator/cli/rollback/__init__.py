"""`kubectl llama rollback`: writes the spec of an earlier revision again."""
