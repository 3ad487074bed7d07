"""`kubectl llama history`: the revisions of a deployment."""
