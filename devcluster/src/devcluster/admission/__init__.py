"""What the server itself adds to or refuses in a write, kind by kind.

Each step is a ``Hook``: called with the target, the new object, the old one (None at a create)
and the options, before validation. It may change the new object in place or raise.
"""

from devcluster.admission.standard import conversions, standard_hooks

__all__ = ["conversions", "standard_hooks"]
