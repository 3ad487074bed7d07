"""What to do about copies of weights in claims. Pure; called by `decide.decision`.

`copying` says what to do until they are there, `claims` who uses which claim, `erasing` what the end of a license asks for, and
`loader` how engines read them.
"""
