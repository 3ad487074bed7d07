"""What keeps the event loop of a replica free for requests and tokens: vLLM's work for a request, where and whether it is done."""
