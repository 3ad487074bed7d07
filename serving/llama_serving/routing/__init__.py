"""Chooses the replica of a request inside HAProxy: by conversation, or by the beginning of the prompt."""
