"""Who calls a webhook: each type of Receiver has its own way to prove it.

    call ........ Call: what came; Refused, and Proof: whether and as whom it is taken
    signatures .. tokens and HMACs in headers
    bodies ...... registries that sign nothing: the body must be theirs
    oidc ........ tokens of OpenID Connect: issuers, keys, claims
    types ....... PROOFS: from the type of a Receiver to its proof

A proof compares in constant time, refuses an empty token, and says in a log what was wrong, never
what would have been right.
"""

__all__: list[str] = []
