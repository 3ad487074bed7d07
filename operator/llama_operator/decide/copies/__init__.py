"""Copies of weights: what they are, what is observed of them, and which a revision needs. Pure; `decide.weights` decides about them.

`source` names a copy by where it comes from, `facts` has what is observed, `needed` says which copies a revision reads.
"""
