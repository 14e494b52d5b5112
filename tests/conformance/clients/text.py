"""Take out of a command's output what no two runs have in common, and nothing else.

That is: uids, resource versions, times and ages, generated suffixes and hashes, addresses, node
ports, tokens, the server's address and temporary folders. How far columns stand apart follows from
the longest age, so that runs of spaces inside a line become three. Lines of kubectl's own log are
no output and left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Texts"]

# The letters that the API server makes suffixes and hashes of.
_SAFE = "[bcdfghjklmnpqrstvwxz2456789]"
_AGE = r"(?:\d+[smhdy]){1,3}"
_RULES: tuple[tuple[str, str], ...] = (
    (r"eyJ[\w-]+\.[\w-]+\.[\w-]+", "<token>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "<time>"),
    (r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "<time>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? [+-]\d{4}", "<time>"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uid>"),
    (r'(resourceVersion\\*"?: ?\\*")\d+(?=\\*")', r"\1<rv>"),
    (r"(Resource Version:\s+|resourceVersion:)\d+", r"\1<rv>"),
    (r'("modifiedAt": ?")\d+', r"\1<time>"),
    (r'("continue": ?")[^"]+', r"\1<token>"),
    (r"(?m)^[EWI]\d{4} \d\d:\d\d:\d\d\.\d+ .*\n?", ""),
    (r"\b(LIVE|MERGED)-\d+", r"\1"),
    (r"\b(\d{1,3}\.){3}\d{1,3}\b", "<address>"),
    (r"\b(nodePort:? +|NodePort: +\S+ +|\d+:)3[0-2]\d{3}\b(?=$|/)", r"\1<port>"),
    (rf"(?<=[a-z0-9])-{_SAFE}{{8,10}}(-{_SAFE}{{5}})?(?![a-z0-9.-])", "-<generated>"),
    (rf"(?<=[a-z0-9])-{_SAFE}{{5}}(?![a-z0-9.-])", "-<generated>"),
    (r"(pod-template-hash[\"=: ]+)" + _SAFE + "{8,10}", r"\1<hash>"),
    (rf"(?m)(^|(?<=  )){_AGE}(?= *$|  | \(x)", "<age>"),
    (rf"(?<=x\d over ){_AGE}", "<age>"),
)


@dataclass(frozen=True, slots=True)
class Texts:
    """For the output of one script.

    Args:
        server: the address of the API server, as in ``https://127.0.0.1:6443``.
        folder: where the commands run.

    """

    server: str
    folder: str

    def lines(self, text: str) -> list[str]:
        """The lines of ``text`` with placeholders."""
        text = text.replace(self.server, "<server>").replace(self.folder, "<folder>")
        text = text.replace(self.server.removeprefix("https://"), "<host>")
        for pattern, to in _COMPILED:
            text = pattern(to, text)
        return [_closed_up(line) for line in text.splitlines()]


def _rule(pattern: str, to: str) -> tuple[Callable[[str, str], str], str]:
    return re.compile(pattern).sub, to


_COMPILED = [_rule(pattern, to) for pattern, to in _RULES]


def _closed_up(line: str) -> str:
    """Keep the indentation; let columns stand three spaces apart."""
    bare = line.lstrip(" ")
    indent = line[: len(line) - len(bare)]
    return (indent + re.sub(r" {2,}|\t", "   ", bare)).rstrip()
