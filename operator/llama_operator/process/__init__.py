"""The operator's process: its parts, made, joined, started and stopped."""
