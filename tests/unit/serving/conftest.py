"""A Hub on this machine: real sockets, and the answers that the Hugging Face Hub gives at its gates.

The table was written from what people quote of the Hub's answers in issues of huggingface_hub and of its users; a test
adds its own answers where it needs others.
"""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

REPOSITORY = "meta-llama/Llama-3.1-8B-Instruct"
COMMIT = "0e9e39f249a16976918f6564b8830bc894c89659"
FILE = "config.json"

LOG_IN = f"Access to model {REPOSITORY} is restricted. You must have access to it and be authenticated to access it. Please log in."
ASK = f"Access to model {REPOSITORY} is restricted and you are not in the authorized list. Visit https://huggingface.co/{REPOSITORY} to ask for access."
PENDING = f"Your request to access model {REPOSITORY} is awaiting a review from the repo authors."
REJECTED = f"Your request to access model {REPOSITORY} has been rejected by the repo's authors."
RESET = f"Your request to access model {REPOSITORY} has been reset by the repo's authors. Visit https://huggingface.co/{REPOSITORY} to submit a new request."
FINE_GRAINED = (
    "Please enable access to public gated repositories in your fine-grained token settings to view this repository"
)

ANSWERS = {
    # token -> (status, X-Error-Code, X-Error-Message)
    "": (401, "GatedRepo", LOG_IN),
    "hf_unknown": (401, None, "Invalid username or password."),
    "hf_malformed": (401, None, "Invalid credentials in Authorization header"),
    "hf_narrow": (403, None, FINE_GRAINED),
    "hf_stranger": (403, "GatedRepo", ASK),
    "hf_reset": (403, "GatedRepo", RESET),
    "hf_waiting": (403, "GatedRepo", PENDING),
    "hf_refused": (403, "GatedRepo", REJECTED),
    "hf_disabled": (403, None, "Access to this resource is disabled."),
    "hf_busy": (429, None, "Too many requests"),
    "hf_broken": (503, None, None),
    "hf_accepted": (200, None, None),
}
"""Answers to the head of a file behind the gate, by the caller's token."""


class Hub:
    """Serves until closed; counts what it was asked.

    Attributes:
        repository: The gated repository.
        commit: The commit that its branch `main` is.
        requests: (method, path, token) of every request.
        script: Statuses to answer first, before the table is asked.
        revisions: What the accepted find.
        files: What is in the repository.
    """

    repository, commit = REPOSITORY, COMMIT

    def __init__(self):
        hub = self
        self.requests, self.script = [], []
        self.revisions, self.files = {"main", COMMIT}, {FILE}

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self):
                hub.answer(self)

            def do_GET(self):
                hub.answer(self)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request):
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.requests.append((request.command, request.path, token))
        status, code, message = (self.script.pop(0), None, None) if self.script else self._judge(request.path, token)
        request.send_response(status)
        if code:
            request.send_header("X-Error-Code", code)
        if message:
            request.send_header("X-Error-Message", message)
        if status == 401:
            request.send_header("WWW-Authenticate", 'Bearer realm="Authentication required", charset="UTF-8"')
        if status == 200:
            request.send_header("X-Repo-Commit", COMMIT)
            request.send_header("ETag", '"4d8c"')
        request.send_header("Content-Length", "0")
        request.end_headers()

    def _judge(self, path, token):
        owner, name, action, revision, file = path.lstrip("/").split("/", 4)
        answer = ANSWERS.get(token, ANSWERS["hf_unknown"])
        if f"{owner}/{name}" != REPOSITORY:
            return (404, "RepoNotFound", "Repository not found") if answer[0] != 401 else ANSWERS["hf_unknown"]
        if action != "resolve":
            return 404, None, "Sorry, we can't find the page you are looking for."
        if answer[0] != 200:
            # The gate comes before the question whether there is such a revision or file.
            return answer
        if revision not in self.revisions:
            return 404, "RevisionNotFound", f"Invalid rev id: {revision}"
        return answer if file in self.files else (404, "EntryNotFound", "Entry not found")


@pytest.fixture
def hub():
    found = Hub()
    yield found
    found.close()
