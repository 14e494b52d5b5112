"""From headers to a user: bearer tokens, anonymous requests, impersonation."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from multidict import CIMultiDictProxy

from devcluster import errors
from devcluster.auth.rbac import Rbac, denied
from devcluster.auth.rules import Attributes
from devcluster.auth.tokens import ISSUER, Claims, Tokens
from devcluster.identity import ADMIN, ANONYMOUS, User, service_account_user
from devcluster.request import RequestInfo
from devcluster.store import Store

__all__ = ["Authenticator", "attributes_of"]

_AUTHENTICATED = "system:authenticated"
_UNAUTHENTICATED = "system:unauthenticated"
_SA_PREFIX = "system:serviceaccount:"
_ACCOUNT_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_EXTRA = "authentication.kubernetes.io"
_NODE_PREFIX = "system:node:"
_EXTRA_PREFIX = "impersonate-extra-"
_REVIEW_GROUP = "authentication.k8s.io"
_MAX_USERS = 4096


def attributes_of(info: RequestInfo) -> Attributes:
    """What a request asks for, as the authoriser sees it."""
    if not info.is_resource:
        return Attributes(info.verb, path=info.path)
    return Attributes(
        info.verb,
        info.group,
        info.resource,
        info.subresource,
        info.namespace,
        info.subject,
        version=info.version,
    )


class Authenticator:
    """Knows the admin's token, tokens of extra users, and those of service accounts.

    Args:
        store: has the service accounts.
        tokens: checks their tokens.
        rbac: says who may impersonate whom.
        static: fixed tokens and the users they stand for.
        anonymous: False refuses requests without credentials.

    """

    def __init__(
        self,
        *,
        store: Store,
        tokens: Tokens,
        rbac: Rbac,
        static: Mapping[str, User],
        anonymous: bool = True,
    ) -> None:
        self._accounts = store.table(("", "serviceaccounts"))
        self._store = store
        self._tokens = tokens
        self._rbac = rbac
        self._static = dict(static)
        self._anonymous = anonymous
        self._mode: dict[str, str] = {}
        self._users: dict[str, tuple[Claims, User]] = {}

    def add_user(self, token: str, user: User) -> None:
        """Let ``token`` stand for ``user``."""
        self._static[token] = user

    def user(self, headers: CIMultiDictProxy[str]) -> User:
        """The user of the credentials; raises 401 when they are bad, or wanted and not there."""
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            if not self._anonymous:
                raise errors.unauthorized()
            return ANONYMOUS
        found = self.token_user(token.strip(), audiences=(ISSUER,))
        if found is None:
            raise errors.unauthorized()
        return found

    def token_user(self, token: str, *, audiences: tuple[str, ...]) -> User | None:
        """The user behind a token that is meant for one of ``audiences``."""
        for known, user in self._static.items():
            if secrets.compare_digest(known.encode(), token.encode()):
                return user
        claims = self._tokens.verify(token)
        if claims is None or not set(claims.audiences) & set(audiences):
            return None
        row = self._accounts.by_key.get(f"{claims.namespace}/{claims.name}")
        if row is None or row.uid != claims.uid:
            return None
        if claims.bound is not None and not self._is_there(claims, *claims.bound):
            return None
        made = self._users.get(token)
        if made is None or made[0] is not claims:
            if len(self._users) > _MAX_USERS:
                self._users.clear()
            made = self._users[token] = (claims, _user_of(claims))
        return made[1]

    def _is_there(self, claims: Claims, plural: str, name: str, uid: str) -> bool:
        """Whether the object that a token is bound to still exists."""
        key = name if plural == "nodes" else f"{claims.namespace}/{name}"
        row = self._store.table(("", plural)).by_key.get(key)
        return row is not None and row.uid == uid

    # --- impersonation ------------------------------------------------------------------------

    def impersonated(
        self, user: User, headers: CIMultiDictProxy[str], info: RequestInfo
    ) -> User | None:
        """The user that the request acts as, or None; raises 403 when it may not.

        The constrained verbs (``impersonate:user-info``, ``impersonate:serviceaccount`` with
        ``impersonate-on:...``) are tried before plain ``impersonate``; the error shown is the
        first one's, as in kube-apiserver 1.37.
        """
        wanted = _wanted(headers)
        if wanted is None:
            return None
        asked = attributes_of(info)
        modes = [mode for mode in ("serviceaccount", "user-info", "") if _applies(mode, wanted)]
        last = self._mode.get(user.name)
        if last in modes:
            modes.remove(last)
            modes.insert(0, last)
        first: errors.ApiFailure | None = None
        for mode in modes:
            try:
                found = self._try(mode, user, wanted, asked)
            except errors.ApiFailure as failure:
                first = first or failure
            else:
                self._mode[user.name] = mode
                return found
        raise first or errors.unauthorized()

    def _try(self, mode: str, user: User, wanted: User, asked: Attributes) -> User:
        verb, group = "impersonate", ""
        if mode:
            self._require(user, _on_behalf(mode, asked))
            verb, group = f"impersonate:{mode}", _REVIEW_GROUP
        namespace, name = _account(wanted.name)
        if name:
            self._require(
                user,
                Attributes(verb, group, "serviceaccounts", namespace=namespace, name=name),
            )
        else:
            self._require(user, Attributes(verb, group, "users", name=wanted.name))
        if wanted.uid:
            self._require(user, Attributes(verb, _REVIEW_GROUP, "uids", name=wanted.uid))
        for one in wanted.groups:
            self._require(user, Attributes(verb, group, "groups", name=one))
        for key, values in wanted.extra.items():
            for value in values:
                self._require(user, Attributes(verb, _REVIEW_GROUP, "userextras", key, name=value))
        return _completed(wanted)

    def _require(self, user: User, asked: Attributes) -> None:
        decision = self._rbac.decide(user, asked)
        if not decision.allowed:
            raise denied(user, asked, decision.reason)


def _user_of(claims: Claims) -> User:
    extra = {f"{_EXTRA}/credential-id": (f"JTI={claims.token_id}",)}
    if claims.bound is not None and claims.bound[0] in {"pods", "nodes"}:
        plural, name, uid = claims.bound
        kind = plural.removesuffix("s")
        extra |= {f"{_EXTRA}/{kind}-name": (name,), f"{_EXTRA}/{kind}-uid": (uid,)}
    return service_account_user(claims.namespace, claims.name, uid=claims.uid, extra=extra)


def _on_behalf(mode: str, asked: Attributes) -> Attributes:
    return Attributes(
        f"impersonate-on:{mode}:{asked.verb}",
        asked.group,
        asked.resource,
        asked.subresource,
        asked.namespace,
        asked.name,
        asked.path,
        asked.version,
    )


def _account(user_name: str) -> tuple[str, str]:
    """Namespace and name of a service account's user name, or two empty texts."""
    if not user_name.startswith(_SA_PREFIX):
        return "", ""
    namespace, _, name = user_name.removeprefix(_SA_PREFIX).partition(":")
    fits = _ACCOUNT_NAME.fullmatch(name) and _ACCOUNT_NAME.fullmatch(namespace)
    return (namespace, name) if fits else ("", "")


def _applies(mode: str, wanted: User) -> bool:
    if not mode:
        return True
    is_account = bool(_account(wanted.name)[1])
    only_name = not (wanted.uid or wanted.groups or wanted.extra)
    if mode == "serviceaccount":
        return is_account and only_name
    return not is_account and not wanted.name.startswith(_NODE_PREFIX)


def _wanted(headers: CIMultiDictProxy[str]) -> User | None:
    name = headers.get("Impersonate-User", "")
    groups = tuple(headers.getall("Impersonate-Group", ()))
    uid = headers.get("Impersonate-Uid", "")
    extra: dict[str, tuple[str, ...]] = {}
    for header, value in headers.items():
        if header.lower().startswith(_EXTRA_PREFIX):
            key = unquote(header[len(_EXTRA_PREFIX) :].lower())
            extra[key] = (*extra.get(key, ()), value)
    if name:
        return User(name, uid=uid, groups=groups, extra=extra)
    if uid or groups or extra:
        raise errors.bad_request(_nameless(uid, groups, extra))
    return None


def _nameless(uid: str, groups: tuple[str, ...], extra: Mapping[str, Any]) -> str:
    listed = "[]string{" + ", ".join(f'"{group}"' for group in groups) + "}"
    shown_groups = listed if groups else "[]string(nil)"
    shown_extra = "map[string][]string(nil)"
    if extra:
        pairs = [
            f'"{key}":[]string{{{", ".join(f"{chr(34)}{v}{chr(34)}" for v in values)}}}'
            for key, values in extra.items()
        ]
        shown_extra = "map[string][]string{" + ", ".join(pairs) + "}"
    return (
        f'requested &user.DefaultInfo{{Name:"", UID:"{uid}", Groups:{shown_groups},'
        f" Extra:{shown_extra}}} without impersonating a user name"
    )


def _completed(wanted: User) -> User:
    """The user with the groups that impersonation adds."""
    groups = list(wanted.groups)
    namespace, name = _account(wanted.name)
    if name and not groups:
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
    if wanted.name == ANONYMOUS.name:
        added = _UNAUTHENTICATED
    else:
        added = "" if _UNAUTHENTICATED in groups else _AUTHENTICATED
    if added and added not in groups:
        groups.append(added)
    return User(wanted.name, uid=wanted.uid, groups=tuple(groups), extra=wanted.extra)


def admin_tokens(token: str) -> dict[str, User]:
    """The static table with the admin in it."""
    return {token: ADMIN}
