"""Events of controllers: read, cleaned, and each told once.

model ....... Event: Flux's event API
limiter ..... which have been told already
server ...... takes them
"""

__all__: list[str] = []
