"""Which events a type of Provider is for."""

from __future__ import annotations

from notification_controller.event.model import Event

__all__ = ["CHANGE_REQUESTS", "COMMIT_STATUSES", "is_for"]

COMMIT_STATUSES = frozenset(
    {"github", "gitlab", "gitea", "bitbucketserver", "bitbucket", "azuredevops"}
)
"""Types that set the status of a commit."""

CHANGE_REQUESTS = frozenset(
    {"githubpullrequestcomment", "giteapullrequestcomment", "gitlabmergerequestcomment"}
)
"""Types that comment on a change request."""

_ANYTHING = frozenset({"generic", "generic-hmac"})


def is_for(type_: str, event: Event) -> bool:
    """Whether a Provider of this type tells an event, as it was posted."""
    if event.is_commit_status and type_ not in COMMIT_STATUSES | _ANYTHING:
        return False
    if type_ in COMMIT_STATUSES:
        return bool(event.named("commit")) or event.is_commit_status or event.is_error
    if type_ in CHANGE_REQUESTS:
        return bool(event.named("change_request"))
    return True
