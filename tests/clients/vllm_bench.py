"""`vllm bench serve` by its own module: the `vllm` program of the CPU build asks for a package name that this build does not have."""

import argparse

from vllm.benchmarks.serve import add_cli_args, main

parser = argparse.ArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
