"""Providers: what a message is to each service, and how it gets there.

    message ..... Message: an event with its facts, and the words that services share
    settings .... Settings: a Provider with its Secrets
    outgoing .... Outgoing: one request; SendFailed
    sender ...... sends requests by the dialer
    answers ..... what a refusal or a failure says of another try
    types ....... from the type of a Provider to what tells a message
    chat, dispatch, hooks, incidents, queues, traces ... types as functions from message and settings to requests
    repositories, hosts ...... where a repository is, and how its API is asked
    commits, comments ........ types that look before they write
    nats ..................... the one that does not speak HTTP
    login .................... from what a Secret holds to a token
    lending .................. types that take a cloud identity instead

Most types are pure functions, so what they send is a table in a test; those that look first are
given what sends one request.
"""

__all__: list[str] = []
