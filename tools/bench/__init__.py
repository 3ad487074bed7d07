"""Benchmarks: what users wait for, the operator at scale, plans beside another planner, and the performance model's fit."""
