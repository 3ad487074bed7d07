"""`kubectl llama diff`: what applying a manifest would change, and whether engines restart."""
