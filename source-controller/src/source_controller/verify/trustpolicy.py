"""Notation's trust policy: which signers count for which repository, and how strictly.

The rules are the Notary Project's trust store and trust policy specification, version 1.0. A
document that breaks one of them is refused as a whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from source_controller.oci.errors import VerificationFailed

__all__ = ["Action", "Check", "TrustPolicy", "choose_policy", "subject_matches"]

Check = Literal["authenticity", "authenticTimestamp", "expiry", "revocation"]
Action = Literal["enforce", "log", "skip"]

_STRICT: dict[Check, Action] = {
    "authenticity": "enforce",
    "authenticTimestamp": "enforce",
    "expiry": "enforce",
    "revocation": "enforce",
}
_LEVELS: dict[str, dict[Check, Action]] = {
    "strict": _STRICT,
    "permissive": {**dict.fromkeys(_STRICT, "log"), "authenticity": "enforce"},
    "audit": dict.fromkeys(_STRICT, "log"),
}
_ACTIONS: dict[str, Action] = {"enforce": "enforce", "log": "log", "skip": "skip"}
_SUBJECT = "x509.subject:"
_NAMES: dict[str, ObjectIdentifier] = {
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "S": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
    "STREET": NameOID.STREET_ADDRESS,
}
_GAP = re.compile(r"\s*,\s+(?=[A-Za-z0-9.]+\s*=)")  # people write a space after the comma
_REQUIRED = ("C", "ST", "O")
_MAX_POLICIES = 100


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """One statement.

    Attributes:
        name: of the statement.
        skip: nothing is verified.
        actions: what is done where a check fails; integrity is always enforced.
        identities: subjects of signers, as parsed names; empty for any.

    """

    name: str
    skip: bool
    actions: dict[Check, Action]
    identities: tuple[tuple[tuple[ObjectIdentifier, str], ...], ...]


def choose_policy(document: bytes, repository: str) -> TrustPolicy:
    """The statement for a repository: the one that names it, else the one for all.

    Args:
        document: ``trustpolicy.json``.
        repository: ``<host>/<name>``.

    Raises:
        VerificationFailed: the document breaks a rule, or says nothing about the repository.

    """
    chosen: dict[str, TrustPolicy] = {}
    names: set[str] = set()
    for statement in _statements(document):
        policy, scopes = _policy(statement)
        if policy.name in names:
            raise _invalid(f"the name {policy.name[:100]!r} is there twice")
        names.add(policy.name)
        for scope in scopes:
            if scope in chosen:
                raise _invalid(f"the scope {scope[:100]!r} is there twice")
            chosen[scope] = policy
    found = chosen.get(repository) or chosen.get("*")
    if found is None:
        raise VerificationFailed(f"the trust policy says nothing about {repository}")
    return found


def subject_matches(policy: TrustPolicy, subject: x509.Name) -> bool:
    """Whether a signer's subject is one of the trusted ones: it has all that one of them names."""
    if not policy.identities:
        return True
    has = {(attribute.oid, str(attribute.value)) for attribute in subject}
    return any(has.issuperset(identity) for identity in policy.identities)


def _statements(document: bytes) -> list[dict[str, Any]]:
    try:
        loaded = orjson.loads(document)
    except ValueError:
        raise _invalid("it is not JSON") from None
    if not isinstance(loaded, dict) or loaded.get("version") != "1.0":
        raise _invalid("its version is not 1.0")
    statements = loaded.get("trustPolicies")
    if not isinstance(statements, list) or not 0 < len(statements) <= _MAX_POLICIES:
        raise _invalid("it has no statements, or too many")
    if not all(isinstance(statement, dict) for statement in statements):
        raise _invalid("a statement is not an object")
    return statements


def _policy(statement: dict[str, Any]) -> tuple[TrustPolicy, list[str]]:
    name = statement.get("name")
    if not isinstance(name, str) or not name:
        raise _invalid("a statement has no name")
    scopes = _texts(statement, "registryScopes")
    if not scopes or ("*" in scopes and len(scopes) > 1):
        raise _invalid(f"{name[:100]!r} needs registryScopes, and '*' only alone")
    verification = statement.get("signatureVerification")
    level = verification.get("level") if isinstance(verification, dict) else None
    override = verification.get("override") if isinstance(verification, dict) else None
    if level == "skip":
        if override:
            raise _invalid(f"{name[:100]!r} has an override of the level skip")
        return TrustPolicy(name, skip=True, actions={}, identities=()), scopes
    if level not in _LEVELS:
        raise _invalid(f"{name[:100]!r} has no level of strict, permissive, audit and skip")
    if not _texts(statement, "trustStores"):
        raise _invalid(f"{name[:100]!r} needs trustStores")
    return (
        TrustPolicy(
            name,
            skip=False,
            actions=_actions(level, override),
            identities=_identities(name, _texts(statement, "trustedIdentities")),
        ),
        scopes,
    )


def _actions(level: str, override: object) -> dict[Check, Action]:
    actions = dict(_LEVELS[level])
    if override is None:
        return actions
    if not isinstance(override, dict):
        raise _invalid("an override is not an object")
    known: dict[str, Check] = {check: check for check in actions}
    for check, action in override.items():
        if check not in known or action not in _ACTIONS:
            raise _invalid("an override names an unknown check or action")
        if check == "authenticity" and action == "skip":
            raise _invalid("an override cannot skip authenticity")
        actions[known[check]] = _ACTIONS[action]
    return actions


def _identities(
    name: str, texts: list[str]
) -> tuple[tuple[tuple[ObjectIdentifier, str], ...], ...]:
    if not texts:
        raise _invalid(f"{name[:100]!r} needs trustedIdentities")
    if "*" in texts:
        if len(texts) > 1:
            raise _invalid(f"{name[:100]!r} has '*' beside other trusted identities")
        return ()
    return tuple(_identity(text) for text in texts)


def _identity(text: str) -> tuple[tuple[ObjectIdentifier, str], ...]:
    if not text.startswith(_SUBJECT):
        raise _invalid(f"a trusted identity must begin with {_SUBJECT}")
    try:
        plain = _GAP.sub(",", text[len(_SUBJECT) :].strip())
        parsed = x509.Name.from_rfc4514_string(plain, _NAMES)
    except ValueError:
        raise _invalid("a trusted identity is no distinguished name") from None
    found = tuple((attribute.oid, str(attribute.value)) for attribute in parsed)
    if len({oid for oid, _ in found}) != len(found):
        raise _invalid("a trusted identity names an attribute twice")
    missing = [short for short in _REQUIRED if _NAMES[short] not in {oid for oid, _ in found}]
    if missing:
        raise _invalid(f"a trusted identity lacks {missing[0]}")
    return found


def _texts(statement: dict[str, Any], name: str) -> list[str]:
    value = statement.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _invalid(f"{name} is not a list of texts")
    return value


def _invalid(problem: str) -> VerificationFailed:
    return VerificationFailed(f"the trust policy is not valid: {problem}")
