"""`kubectl llama weights`: copies of weights in claims, and what becomes of them."""
