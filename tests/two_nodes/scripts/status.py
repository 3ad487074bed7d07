"""Says with which status the URL in its arguments answers to a GET without credentials. Runs in a pod."""

import sys

import httpx

print(httpx.get(sys.argv[1], timeout=10, trust_env=False).status_code)
