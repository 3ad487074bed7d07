"""`kubectl llama models`: the built-in catalog."""
