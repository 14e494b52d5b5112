"""Control over a running cluster, for tests: hold a write, end watches, read the request log.

In process, ``cluster.control`` (class ``Control``)::

    hold = cluster.control.hold(Match(agent="kustomize-controller"), nth=3, when="before")
    await hold.reached()            # the third write of that client has arrived, nothing changed
    process.kill()                  # its connection drops: the write never takes effect
    # or hold.release() to let it go on, hold.drop() to cut the connection

    cluster.control.cut_watches(Match(path="configmaps"))
    cluster.control.requests(Match(user="^system:serviceaccount:"))

Over HTTP (``--control-port``, loopback only, no credentials), JSON in and out:

=======  =====================  ============================================================
POST     /holds                 ``{match, nth, when: before|after}`` -> ``{id, ...}``
GET      /holds                 all holds
GET      /holds/ID?wait=SECS    its state: armed, held, released, dropped or gone
POST     /holds/ID/release      the request goes on (or the hold is disarmed)
POST     /holds/ID/drop         the connection is cut
DELETE   /holds/ID              as release, and forgotten
POST     /watches/cut           ``{match}``: end matching watches now -> ``{count}``
POST     /watches/expire        ``{match}``: end them with a 410 event -> ``{count}``
POST     /history/compact       forget history: older watches and continued lists get 410
POST     /state/save            write the state file (``--state``) now
GET      /requests              the log; parameters as in match, plus ``after`` (sequence number)
DELETE   /requests              empty the log
=======  =====================  ============================================================

A *match* is an object of optional terms, all of which hold: ``method`` (a method, several with
``|``, or ``write``), ``verb`` (get, list, watch, create, update, patch, delete,
deletecollection), ``path``, ``query``, ``user`` (who acts, after impersonation), ``agent``: each
of these four a regular expression searched for.

A *hold* counts writes only: POST, PUT, PATCH and DELETE of stored objects that are no dry run,
once the client is authenticated and allowed. ``before``: nothing has happened yet; a client that
dies then has written nothing. ``after``: the change is committed and watched by others; the
client has no answer yet (which may be a refusal). A hold catches one request and is over.

What a server does to itself is here; faults between it and its clients (refusals, delays, broken
connections) are the work of a proxy in front of it, so that the real API server can have them too.
"""

from devcluster.control.control import Control
from devcluster.control.holds import Hold
from devcluster.control.journal import Entry
from devcluster.control.match import Match

__all__ = ["Control", "Entry", "Hold", "Match"]
