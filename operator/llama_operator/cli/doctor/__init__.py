"""`kubectl llama doctor`: what a cluster offers, and what is missing."""
