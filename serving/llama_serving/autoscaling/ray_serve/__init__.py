"""The policy in Ray Serve's hands: the only part of `autoscaling` that knows Serve. The simulator does without it."""
