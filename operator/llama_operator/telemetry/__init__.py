"""What the operator process tells about itself: logs, metrics, traces, probes. Wired in by `process`; decides nothing."""
