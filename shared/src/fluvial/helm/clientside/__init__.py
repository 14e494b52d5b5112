"""Applying by the client, as Helm did before server-side apply: three versions make a patch.

From the bottom up::

    values ........ when two values are the same, and how lists of them are sorted
    strategies .... which lists of the kinds of Kubernetes merge, and by which key
    strategic ..... strategic merge patches out of three versions of an object
    jsonmerge ..... JSON merge patches (RFC 7386) out of two or three
    patches ....... which of these an object gets
    writer ........ objects created, patched or replaced by it, as the tenant

Only ``patches`` and ``writer`` are for others. All but ``writer`` are functions of their arguments,
which they do not change. Nothing here is used where a release is applied by the server.
"""

from __future__ import annotations

__all__: list[str] = []
