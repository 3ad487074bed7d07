"""Reads the calls of tools out of what a Llama writes, piece by piece as it comes."""
