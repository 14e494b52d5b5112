"""Talking to API servers: who asks, how names become URLs, what is repeated, what is remembered.

    resource, kinds, urls ........ what is asked for
    kubeconfig, auth, connection . how the server is reached, and as whom
    config, remote ............... the controller's own client; clients from tenants' kubeconfigs
    transport, retry, decode ..... requests and watches over aiohttp; the one place that repeats
    client, http ................. the verbs: the protocol that others use, and what implements it
    errors, redact ............... refusals, without secrets
    discovery .................... kinds to resources
    store, reflector, informer ... list and watch into memory

Import the modules; nothing is re-exported here.
"""

__all__: list[str] = []
