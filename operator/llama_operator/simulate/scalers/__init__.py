"""Autoscalers beside each other: the product's policy, what others ship, and those who know the trace."""
