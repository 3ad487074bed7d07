"""Autoscalers beside each other: what is played, how, and what the document says of it (`make bench-autoscaling`)."""
