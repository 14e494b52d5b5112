"""Receivers: addresses that wake objects when they are called.

reconciler .. makes the address and says whether it can be called
triggers .... what wakes a Receiver
server ...... takes calls
waking ...... finds the objects of a call and annotates them
memory ...... what the server remembers of calls: deliveries, and who was refused
path ........ the address
reasons ..... of conditions and events
"""

__all__: list[str] = []
