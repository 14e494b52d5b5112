"""RBAC rules: what they match, and whether some rules cover others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["FULL_AUTHORITY", "Attributes", "Rule", "missing", "parse_rules"]


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is asked for: a resource (``path`` empty) or a path (``resource`` empty)."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One PolicyRule."""

    verbs: frozenset[str]
    groups: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()

    def allows(self, asked: Attributes) -> bool:
        """RBAC's matching."""
        if asked.verb not in self.verbs and "*" not in self.verbs:
            return False
        if asked.path:
            return any(_url_matches(url, asked.path) for url in self.urls)
        if asked.group not in self.groups and "*" not in self.groups:
            return False
        if not self._has_resource(asked.resource, asked.subresource):
            return False
        return not self.names or asked.name in self.names

    def _has_resource(self, resource: str, subresource: str) -> bool:
        if "*" in self.resources:
            return True
        if not subresource:
            return resource in self.resources
        return f"{resource}/{subresource}" in self.resources or f"*/{subresource}" in self.resources

    def covers(self, single: Rule) -> bool:
        """Whether this rule grants everything of a rule with one value in each place."""
        if not self._covers_verbs(single):
            return False
        if single.urls:
            return all(any(_url_covers(own, url) for own in self.urls) for url in single.urls)
        if not ("*" in self.groups or single.groups <= self.groups):
            return False
        if not all(self._covers_resource(resource) for resource in single.resources):
            return False
        if not self.names:
            return True
        return bool(single.names) and single.names <= self.names

    def _covers_verbs(self, single: Rule) -> bool:
        return "*" in self.verbs or single.verbs <= self.verbs

    def _covers_resource(self, resource: str) -> bool:
        if "*" in self.resources or resource in self.resources:
            return True
        _, slash, sub = resource.partition("/")
        return bool(slash) and f"*/{sub}" in self.resources

    def singles(self) -> Iterator[Rule]:
        """The rule split so that each part has one verb, group, resource and name."""
        for verb in sorted(self.verbs):
            verbs = frozenset({verb})
            for url in sorted(self.urls):
                yield Rule(verbs, urls=frozenset({url}))
            for group in sorted(self.groups):
                for resource in sorted(self.resources):
                    base = (verbs, frozenset({group}), frozenset({resource}))
                    if not self.names:
                        yield Rule(*base)
                    for name in sorted(self.names):
                        yield Rule(*base, names=frozenset({name}))


FULL_AUTHORITY = (
    Rule(frozenset("*"), frozenset("*"), frozenset("*")),
    Rule(frozenset("*"), urls=frozenset("*")),
)


def _url_matches(url: str, path: str) -> bool:
    if url in {"*", path}:
        return True
    return url.endswith("*") and path.startswith(url.rstrip("*"))


def _url_covers(own: str, url: str) -> bool:
    if own in {"*", url}:
        return True
    return own.endswith("*") and url.startswith(own.rstrip("*"))


def parse_rules(rules: Iterable[Mapping[str, Any]] | None) -> tuple[Rule, ...]:
    """Rules from the ``rules`` of a role."""
    return tuple(
        Rule(
            verbs=frozenset(rule.get("verbs") or ()),
            groups=frozenset(rule.get("apiGroups") or ()),
            resources=frozenset(rule.get("resources") or ()),
            names=frozenset(rule.get("resourceNames") or ()),
            urls=frozenset(rule.get("nonResourceURLs") or ()),
        )
        for rule in rules or ()
    )


def missing(owned: Sequence[Rule], wanted: Sequence[Rule]) -> list[str]:
    """What of ``wanted`` is not covered by ``owned``, one compact text for each group."""
    left = [
        single
        for rule in wanted
        for single in rule.singles()
        if not any(own.covers(single) for own in owned)
    ]
    merged: dict[tuple[frozenset[str], ...], set[str]] = {}
    for single in left:
        key = (single.groups, single.resources, single.names, single.urls)
        merged.setdefault(key, set()).update(single.verbs)
    return sorted(_compact(key, verbs) for key, verbs in merged.items())


def _compact(key: tuple[frozenset[str], ...], verbs: set[str]) -> str:
    groups, resources, names, urls = key
    parts = [
        f"{label}:{_quoted(values)}"
        for label, values in (
            ("APIGroups", groups),
            ("Resources", resources),
            ("ResourceNames", names),
            ("NonResourceURLs", urls),
            ("Verbs", verbs),
        )
        if values
    ]
    return "{" + ", ".join(parts) + "}"


def _quoted(values: Iterable[str]) -> str:
    return "[" + " ".join(f'"{value}"' for value in sorted(values)) + "]"
