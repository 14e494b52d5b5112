"""A proxy in front of either control plane that injects faults by rule; loopback only.

In process::

    async with FaultProxy(plane.kubeconfig()) as proxy:
        client = load(proxy.kubeconfig())
        rule = proxy.add(Match(verb="patch", resource="^deployments$"), answer(503), times=3)
        ...
        assert rule.happened == 3

As a program: ``python -m faultproxy --upstream-kubeconfig F --kubeconfig OUT --control-port 0``.
It prints ``address URL``, ``control URL`` if there is one, then ``ready``. Control is JSON over
plain HTTP on loopback, without credentials:

=======  ================  ===================================================================
POST     /rules            ``{match, fault, times, skip, every, probability, seed}`` -> a rule
GET      /rules            all rules with ``seen``, ``struck`` and ``happened``
GET      /rules/ID         one
DELETE   /rules[/ID]       one, or all; connections that a rule keeps hanging are cut
POST     /streams/end      ``{match, then: end|reset|gone}``: running watches -> ``{count}``
POST     /away             refuse connections and cut those that are there
POST     /back             listen again, on the same port
GET      /requests         the log; parameters as in match, plus ``after`` (sequence number)
DELETE   /requests         empty the log
=======  ================  ===================================================================

A *match* is an object of optional terms, all of which hold: ``verb`` (get, list, watch, create,
update, patch, delete, deletecollection; several with ``|``), and regular expressions that are
searched for: ``resource`` (the plural; with its group after a dot, as in ``deployments.apps``),
``subresource``, ``namespace``, ``name``, ``user`` (who acts: the impersonated user, else the
authenticated one), ``agent``, ``path``, ``query``.

*When* a rule strikes: it lets the first ``skip`` matching requests pass, then strikes every
``every``-th with ``probability`` (drawn from ``seed``) until it has struck ``times`` (0: for ever).
``seen`` counts matching requests, ``struck`` those that were chosen, ``happened`` those whose fault
the client has met, so that a test can prove that its fault was real.

*Faults* (``do`` and its parameters; functions of the same meaning in ``faultproxy.faults``):

========  =============================================================================
delay     ``seconds`` plus up to ``jitter`` (drawn from the rule's seed); then it goes on
status    ``status``, ``retry_after``, ``body``: a Status object, a plain ``text``, ``none``
redirect  ``status``, ``location``
reset     RST ``when``: ``before`` it is sent on, ``after`` it took effect, in the ``body``
hang      ``when``: ``before``, ``after``, or the ``headers`` are answered: then nothing
truncate  ``how``: ``length`` (announces more than it sends), ``chunk`` (no last chunk)
slow      the body in pieces of ``bytes``, ``seconds`` apart
watch     after ``events`` events ``then``: ``end``, ``reset``, ``hang``, ``garbage`` (a line that
          is no JSON, and on), ``gone`` (a 410 event and the end), ``late`` (each later event
          ``seconds`` later)
========  =============================================================================

Delays add up and go on to the next rule; of the others the first that strikes wins.
What breaks between the proxy and the control plane breaks the client's connection too.
"""

from faultproxy.asked import Asked
from faultproxy.faults import Fault
from faultproxy.match import Match
from faultproxy.proxy import FaultProxy
from faultproxy.rules import Rule

__all__ = ["Asked", "Fault", "FaultProxy", "Match", "Rule"]
