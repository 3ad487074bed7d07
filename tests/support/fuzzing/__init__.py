"""Fuzz of the whole reconcile on the in-memory cluster: what is drawn, what is done with it, and what must hold after each pass.

`tests/fuzz` runs it, 500 cases in `make test` and as many as wanted by `make fuzz`.
"""
