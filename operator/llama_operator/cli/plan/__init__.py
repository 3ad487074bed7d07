"""`kubectl llama plan`: how a manifest would be sharded, and what it needs."""
