"""A vLLM platform on which CPU ranks run on several Ray nodes; for tests."""
