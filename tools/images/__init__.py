"""Builds the container images with whatever engine is there, or on Debian with none at all. Run by `make images`.

Python's standard library only: a clean clone builds images before it has an environment.
"""
