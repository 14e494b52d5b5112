"""Git hosts that send webhooks and show statuses: a strict stand-in for GitHub, and a real Gitea."""
