"""Providers: what a message is to each service, and how it gets there.

    message ..... Message: an event with its facts, and the words that services share
    settings .... Settings: a Provider with its Secrets
    outgoing .... Outgoing: one request; SendFailed
    sender ...... sends requests by the dialer
    types ....... TYPES: from the type of a Provider to the requests of a message
    chat, incidents, metrics, hooks ... the types, as functions from message and settings to requests

A type is a pure function, so what it sends is a table in a test.
"""

__all__: list[str] = []
