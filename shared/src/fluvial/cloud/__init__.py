"""Who a controller or an object is to a cloud: identities in, short-lived credentials out.

    model ....... identities, credentials, the way to a service
    settings .... what the environment says, as a value
    http ........ questions to public services, by the dialer
    metadata .... the only way to the machine's metadata services
    accounts .... service accounts and their tokens
    jwt, sigv4 .. assertions and signatures
    certificates, unlocking ... keys with certificates, the encrypted ones in a process of their own
    aws, azure, gcp ... one cloud each
    tokens ...... the cache
    identities .. all of it behind one face: ``CloudIdentities``
    registries, githosts, github ... logins made of them
    errors ...... what goes wrong

Import the modules; nothing is re-exported here.
"""

__all__: list[str] = []
