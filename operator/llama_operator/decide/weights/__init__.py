"""Copies of weights in claims: what a revision needs, what Jobs and claims say of it, and what to do next. Pure.

`source` names a copy by where it comes from, `facts` has what is observed, `needed` says which copies a revision reads,
`copying` what to do until they are there, `claims` who uses which claim, `erasing` what the end of a license asks for, and `loader`
how engines read them.
"""
