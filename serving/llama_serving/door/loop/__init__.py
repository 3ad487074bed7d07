"""What the event loop of a process with an HTTP server does first, and what it keeps."""
