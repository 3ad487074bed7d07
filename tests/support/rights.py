"""A cluster as a user sees it who lacks some rights. Used by tests of the command line and of the contract.

The refusals are an API server's own answers, read as the client reads them; tests/contract compares both.
"""

from contextlib import asynccontextmanager
from dataclasses import replace

from llama_operator.kube.delegating import Delegating, Verb
from llama_operator.kube.port import Ref
from llama_operator.kube.server import answers


class WithoutRights(Delegating):
    """Refuses every request about `kinds`; about all of them if none is named."""

    def __init__(self, inner, *kinds, user="jo"):
        super().__init__(inner)
        self._kinds = kinds
        self._user = user

    @asynccontextmanager
    async def _around(self, verb, ref):
        self._check({Verb.APPLY: "patch", Verb.APPLY_STATUS: "patch"}.get(verb, verb.value), ref, verb)
        yield

    async def watch(self, kind, *, since, namespace=None):
        self._check("watch", Ref(kind, namespace or "", ""))
        async for event in self._inner.watch(kind, since=since, namespace=namespace):
            yield event

    async def log(self, pod, *, lines):
        self._check("get", pod, part="log")
        return await self._inner.log(pod, lines=lines)

    async def ask(self, service, *, port, path):
        self._check("get", replace(service, name=f"{service.name}:{port}"), part="proxy")
        return await self._inner.ask(service, port=port, path=path)

    def _check(self, verb, ref, request=None, *, part=""):
        if self._kinds and ref.kind not in self._kinds:
            return
        group = ref.kind.api_version.rpartition("/")[0]
        part = "status" if request is Verb.APPLY_STATUS else part
        resource = ref.kind.plural + (f"/{part}" if part else "")
        where = f'in the namespace "{ref.namespace}"' if ref.namespace else "at the cluster scope"
        subject = f"{ref.kind.plural}.{group}".rstrip(".") + (f' "{ref.name}"' if ref.name else "")
        message = f'{subject} is forbidden: User "{self._user}" cannot {verb} resource "{resource}" in API group "{group}" {where}'
        details = {"group": group, "kind": ref.kind.plural} | ({"name": ref.name} if ref.name else {})
        raise answers.error(403, {"message": message, "details": details}, f"{verb} of {ref}")
