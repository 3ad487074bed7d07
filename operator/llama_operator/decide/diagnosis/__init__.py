"""Why the pods of a revision do not run, or do not answer: one answer for conditions, events, `explain` and the rollout."""
