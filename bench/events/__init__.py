"""What it costs to tell events: 200 Alerts, a service that is dead and one that is slow."""

__all__: list[str] = []
