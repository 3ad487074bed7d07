"""`kubectl llama top`: what the replicas do now."""
