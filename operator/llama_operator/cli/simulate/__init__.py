"""`kubectl llama simulate`: how a deployment would scale under a trace of requests."""
