"""Copies weights into a claim and verifies them, in a Job, before a pod waits for a GPU (docs/weights.md).

`python -m llama_serving.weights copy` or `erase`; `contract.weights` has the request and the verdict. Two processes: one that
keeps the claim in order, watches and answers, and one that fetches and can be killed when a library hangs.
"""
