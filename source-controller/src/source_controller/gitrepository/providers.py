"""Credentials that do not stand in the Secret: those of GitHub Apps, CodeCommit and Azure DevOps.

Each provider's credentials are made for its own hosts only, over https only. The controller's own
identity is never shown to a server that only an object's CA vouches for: whoever names the CA
could be that server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
from yarl import URL

from fluvial.api.source import GitRepositorySpec
from fluvial.cloud.errors import CloudError, IdentityDisabled, WrongHost
from fluvial.cloud.githosts import azure_devops, codecommit
from fluvial.cloud.github import GIT_USER, GitHubApp, installation_token
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.model import ControllerIdentity, Way
from fluvial.net.proxy import ProxyServer
from source_controller.git.model import Auth
from source_controller.gitrepository.auth import auth_from_secret
from source_controller.gitrepository.reasons import INVALID_PROVIDER_CONFIGURATION
from source_controller.source import reasons
from source_controller.source.address import Address
from source_controller.source.run import FailureClass, StepFailed
from source_controller.source.secrets import auth_failed

__all__ = ["Asked", "Providers"]

_APP = "githubAppID"
_APP_FIELDS = {
    "app_id": _APP,
    "private_key": "githubAppPrivateKey",
    "installation_id": "githubAppInstallationID",
    "owner": "githubAppInstallationOwner",
    "base_url": "githubAppBaseURL",
}
_TRUST = ("ca.crt", "caFile", "tls.crt", "tls.key", "certFile", "keyFile")


@dataclass(frozen=True, slots=True)
class Asked:
    """What decides about the credentials of one fetch.

    Attributes:
        namespace: the object's.
        spec: names the provider.
        address: of the repository.
        secret: of the spec; empty without one.
        proxy: of the spec, by which the provider is asked, too.

    """

    namespace: str
    spec: GitRepositorySpec
    address: Address
    secret: Mapping[str, bytes] = field(repr=False)
    proxy: ProxyServer | None = None


class Providers:
    """From the spec and the Secret to what is shown to the Git server.

    Args:
        identities: of the process.

    """

    def __init__(self, identities: CloudIdentities) -> None:
        self._identities = identities

    async def fresh(self, asked: Asked, refused: Auth) -> Auth | None:
        """Other credentials than those that the server refused; ``None`` if there are none.

        Raises:
            StepFailed: as ``auth``.

        """
        if asked.spec.provider != "github":
            return None
        found = await self.auth(asked, refused=refused.password)
        return found if found.password != refused.password else None

    async def auth(self, asked: Asked, *, refused: str = "") -> Auth:
        """The credentials for an address.

        Args:
            asked: for what.
            refused: a token of a GitHub App that the server has refused.

        Raises:
            StepFailed: ``AuthenticationFailed``, ``InvalidProviderConfiguration`` or
                ``FeatureGateDisabled``.

        """
        spec, address = asked.spec, asked.address
        provider = spec.provider or "generic"
        _check(spec, provider, asked.secret)
        if provider == "generic":
            return auth_from_secret(address, asked.secret)
        if address.scheme != "https" or address.user or address.password:
            raise _invalid(
                f"the provider {provider!r} needs an https address without user information",
                kind="stalled",
            )
        trust = {key: value for key, value in asked.secret.items() if key in _TRUST}
        auth = auth_from_secret(address, trust)
        try:
            async with asyncio.timeout(spec.timeout_seconds):
                return await self._login(asked, auth, refused)
        except TimeoutError as error:
            raise auth_failed(
                f"the provider {provider!r} gave no credentials within {spec.timeout}"
            ) from error
        except IdentityDisabled as error:
            raise StepFailed(
                reasons.FETCH_FAILED, reasons.FEATURE_GATE_DISABLED, str(error), kind="stalled"
            ) from error
        except WrongHost as error:
            raise _invalid(str(error), kind="stalled") from error
        except CloudError as error:
            raise auth_failed(f"failed to log in by the provider {provider!r}: {error}") from error

    async def _login(self, asked: Asked, auth: Auth, refused: str) -> Auth:
        spec = asked.spec
        url = URL(asked.address.url, encoded=True)
        if spec.provider == "github":
            way = Way(asked.proxy, auth.ca)
            app = _app(asked.secret)
            token = await installation_token(self._identities, app, way=way, refused=refused)
            return msgspec.structs.replace(auth, username=GIT_USER, password=token.token)
        identity = self._identities.identity_of(asked.namespace, spec.service_account_name)
        way = Way(asked.proxy, auth.ca)
        if isinstance(identity, ControllerIdentity):
            if auth.ca:
                raise auth_failed(
                    "'ca.crt' of the Secret and the controller's own cloud identity exclude each"
                    " other: use spec.serviceAccountName, or add the CA to the controller's trust"
                )
            way = Way(asked.proxy)
        if spec.provider == "aws":
            pair = await codecommit(self._identities, url, identity=identity, way=way)
            return msgspec.structs.replace(auth, username=pair.username, password=pair.password)
        bearer = await azure_devops(self._identities, url, identity=identity, way=way)
        return msgspec.structs.replace(auth, bearer=bearer.token)


def _check(spec: GitRepositorySpec, provider: str, secret: Mapping[str, bytes]) -> None:
    """Whether provider, Secret and service account go together."""
    if provider == "github":
        if spec.secret_ref is None:
            raise _invalid(
                "the provider 'github' needs spec.secretRef with a GitHub App", kind="stalled"
            )
        if _APP not in secret:
            raise _invalid(
                f"the Secret {spec.secret_ref.name!r} has no {_APP!r}: the provider 'github'"
                " needs a GitHub App",
                kind="retry",
            )
    elif _APP in secret:
        raise _invalid(f"the Secret has {_APP!r}, but spec.provider is not 'github'", kind="retry")
    if spec.service_account_name and provider not in {"aws", "azure"}:
        raise _invalid(
            "spec.serviceAccountName can only be set when spec.provider is 'aws' or 'azure'",
            kind="stalled",
        )


def _app(secret: Mapping[str, bytes]) -> GitHubApp:
    try:
        found = {name: secret.get(key, b"").decode().strip() for name, key in _APP_FIELDS.items()}
    except UnicodeDecodeError:
        raise auth_failed("a value of the Secret is not text") from None
    return GitHubApp(**found)


def _invalid(message: str, *, kind: FailureClass) -> StepFailed:
    return StepFailed(reasons.FETCH_FAILED, INVALID_PROVIDER_CONFIGURATION, message, kind=kind)
