"""`kubectl llama explain`: every step to Ready, and what would unblock the first that fails."""
