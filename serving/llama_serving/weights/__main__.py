"""Entry point of the Job that copies or erases weights: `python -m llama_serving.weights copy`."""

import sys

from llama_serving.weights.command import main

if __name__ == "__main__":
    sys.exit(main())
