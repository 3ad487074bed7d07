"""`kubectl llama cost`: what a deployment costs per hour and per million tokens."""
