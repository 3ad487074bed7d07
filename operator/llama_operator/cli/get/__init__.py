"""`kubectl llama get`: what serves, where, and why not."""
