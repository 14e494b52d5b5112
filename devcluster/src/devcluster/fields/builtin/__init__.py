"""What no published schema says about the built-in kinds: defaults, validation, immutability.

    defaults   per Go type, applied wherever the type occurs
    checker    collects the causes of a 422, in the server's words
    names      the syntax of names, labels and the like
    meta       metadata of every kind
    pods       pod specs, wherever they occur
    rules      the table: kind to its validators

Checked against the answers of the real server (``tests/conformance/apiserver`` and the tests of
this package).
"""

from __future__ import annotations

__all__: list[str] = []
