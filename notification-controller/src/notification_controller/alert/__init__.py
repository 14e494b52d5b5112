"""Alerts: which events are told, with which facts, and to whom.

known ....... the Alerts, found by what they are about
wishes ...... what the annotations of an Alert ask for
matching .... whether an Alert is for an event
failures .... which were told and still last
choosing .... which Alerts tell of an event, and in which words
groups ...... what is told as one message
merging ..... what an event says once an Alert has added its own
rules ....... which events a type of Provider is for
backlog ..... events that wait to be looked at
telling ..... from an event to the lanes of Providers
counting .... what became of every event
lanes ....... one bounded queue for each Provider; tries again while it is away
"""

__all__: list[str] = []
