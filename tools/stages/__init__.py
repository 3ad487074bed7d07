"""Runs the stages of `make test` side by side, as far as memory and cores allow. Called by the Makefile.

`python -m stages` runs all of them, `python -m stages fast serving` two; docs: CONTRIBUTING.md, "Kinds of tests".
"""
