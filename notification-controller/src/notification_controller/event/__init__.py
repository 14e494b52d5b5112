"""Events of controllers: read, cleaned, and each told once.

model ....... Event: Flux's event API
limiter ..... which have been told already
expectation . what whoever sends a body may wait for
server ...... takes them
"""

__all__: list[str] = []
