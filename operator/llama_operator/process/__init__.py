"""The operator's process: its parts are made, joined, started and stopped here."""
