"""`kubectl llama usage`: sums the usage log by tenant and model."""
