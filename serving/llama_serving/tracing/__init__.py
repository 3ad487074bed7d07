"""What OpenTelemetry is told of requests: the span of the door, how it leaves the process, and the histograms of times."""
