"""Says which replicas report to the status endpoint at the URL in its arguments, as a JSON list; with `running` only those that work."""

import json
import sys

import httpx

url, *busy = sys.argv[1:]
try:
    answer = httpx.get(f"{url}/llama/status", timeout=10, trust_env=False)
    reports = answer.json()["reports"] if answer.status_code == httpx.codes.OK else []
except httpx.HTTPError:
    reports = []
print(json.dumps([one["replica"] for one in reports if not busy or one["running"] > 0]))
