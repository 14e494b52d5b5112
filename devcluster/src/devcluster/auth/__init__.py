"""Who asks and what they may: tokens, impersonation, RBAC, reviews."""
