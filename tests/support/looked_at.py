"""A LlamaDeployment at which the operator has looked: before, its definition says of its status that nobody has.

A server keeps that default with the first write that follows, also one that changes nothing else.
"""


async def looked_at(client, obj):
    """Apply `obj` and a first status; returns the object."""
    live = await client.apply(obj)
    status = {"observedGeneration": live["metadata"]["generation"]}
    return await client.apply_status({**obj, "status": status})
