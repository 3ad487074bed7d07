"""Simulates a deployment under a trace of requests: engines, Ray Serve, cold starts, and the autoscalers beside each other."""
