"""Traces of requests by OpenTelemetry: the span of the door, what it may say, and how it leaves the process."""
