"""From what a Secret holds to the token that a service takes, where these are two things."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from fluvial.cloud.errors import CloudError, InvalidIdentity, LoginRefused, NoIdentity, WrongHost
from fluvial.cloud.github import GitHubApp, installation_token
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.model import Way
from fluvial.errors import FluvialError
from notification_controller.provider import hosts
from notification_controller.provider.lending import Lending, is_lent, lent
from notification_controller.provider.outgoing import SendFailed
from notification_controller.provider.settings import Settings

__all__ = ["APP_TYPES", "logged_in"]

APP_TYPES = frozenset({"github", "githubdispatch", "githubpullrequestcomment"})
"""Types that may be a GitHub App."""

_APP = "githubAppID"
_APP_KEYS = {
    "private_key": "githubAppPrivateKey",
    "installation_id": "githubAppInstallationID",
    "owner": "githubAppInstallationOwner",
    "base_url": "githubAppBaseURL",
}
_PUBSUB_SCOPES = ("https://www.googleapis.com/auth/pubsub",)


async def logged_in(
    settings: Settings,
    texts: Mapping[str, str],
    *,
    lending: Lending,
    service_account: str = "",
    timeout: float,
    refused: str = "",
) -> Settings:
    """The settings with the token that requests are sent with.

    Args:
        settings: of the Provider.
        texts: of its Secret.
        lending: who logs in where the Secret has nothing, and how.
        service_account: that the Provider names.
        timeout: seconds that it may take.
        refused: a token of a GitHub App that the service has refused.

    Raises:
        SendFailed: there is no token to be had.

    """
    identities, way = lending.identities, lending.way
    try:
        async with asyncio.timeout(timeout):
            if is_lent(settings, service_account):
                return await lent(settings, lending)
            if settings.type in APP_TYPES and texts.get(_APP):
                return await _app(settings, texts, identities, way, refused=refused)
            if settings.type == "googlepubsub":
                return await _key(settings, identities, way)
    except TimeoutError as error:
        raise SendFailed(f"no token within {timeout:g}s", again=True) from error
    except NoIdentity as error:
        raise SendFailed(
            f"the Secret has no token, and the controller no cloud identity: {error}", again=False
        ) from error
    except (InvalidIdentity, WrongHost) as error:
        # What only the API server can say may be there in a moment.
        again = isinstance(error.__cause__, FluvialError)
        raise SendFailed(f"cannot log in: {error}", again=again) from error
    except LoginRefused as error:
        again = error.status == 429 or error.status >= 500
        raise SendFailed(f"cannot log in: {error}", again=again) from error
    except CloudError as error:
        raise SendFailed(f"cannot log in: {error}", again=True) from error
    return settings


async def _app(
    settings: Settings,
    texts: Mapping[str, str],
    identities: CloudIdentities,
    way: Way,
    *,
    refused: str,
) -> Settings:
    """With a token of a GitHub App's installation, which goes to the API that gave it alone."""
    given = {name: texts.get(key, "") for name, key in _APP_KEYS.items()}
    # A token is needed to say where requests go; it is not sent anywhere.
    api = hosts.github(replace(settings, token="none")).api  # noqa: S106  # a placeholder
    app = GitHubApp(app_id=texts[_APP], **{**given, "base_url": given["base_url"] or str(api)})
    if app.check().origin() != api.origin():
        raise InvalidIdentity("'githubAppBaseURL' is not the API of the address's host")
    token = await installation_token(identities, app, way=way, refused=refused)
    hidden = (*settings.secrets, app.private_key)
    return replace(settings, token=token.token, app=app.app_id, hidden=hidden)


async def _key(settings: Settings, identities: CloudIdentities, way: Way) -> Settings:
    """With a token of the service account of Google whose key the Secret has."""
    key = settings.need("token")
    token = await identities.gcp_secret(key.encode(), scopes=_PUBSUB_SCOPES, way=way)
    return replace(settings, token=token.token, hidden=settings.secrets)
