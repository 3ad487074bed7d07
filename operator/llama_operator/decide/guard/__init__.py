"""The guard of a deployment, planned.

planned  -> which model, on which card, in which pods
share    -> its part of the model's cards, where it has none of its own
"""
