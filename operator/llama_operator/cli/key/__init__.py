"""`kubectl llama key`: makes, lists, rotates and revokes the API keys of a deployment."""
