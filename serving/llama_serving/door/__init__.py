"""The door: who may ask an endpoint, for what, and in which form. It stands in front of every HTTP server of Ray Serve."""
