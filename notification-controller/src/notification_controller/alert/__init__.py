"""Alerts: which events are told, with which facts, and to whom.

matching .... whether an Alert is for an event
merging ..... what an event says once an Alert has added its own
rules ....... which events a type of Provider is for
telling ..... from an event to the lanes of Providers
lanes ....... one bounded queue for each Provider; tries again while it is away
"""

__all__: list[str] = []
