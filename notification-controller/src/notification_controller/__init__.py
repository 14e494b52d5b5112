"""Takes webhooks in."""
