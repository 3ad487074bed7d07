"""The one error of this package: printed by `__main__` without a traceback."""


class ImageError(Exception):
    """An image cannot be built; the message says why, and what to do."""
