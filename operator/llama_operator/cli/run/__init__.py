"""`kubectl llama run`: serves a manifest on this machine."""
