"""The real API server: requests, answers, watches and credentials."""
