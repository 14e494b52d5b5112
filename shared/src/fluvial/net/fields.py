"""Fields of ours in the messages between child processes and the gateway."""

from __future__ import annotations

__all__ = ["SCHEME_FIELD"]

SCHEME_FIELD = "Gateway-Scheme"
"""What will be spoken, beside CONNECT: see ``gateway``."""
