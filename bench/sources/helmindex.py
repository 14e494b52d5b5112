"""A Helm index of any size, as chart repositories have them."""

from __future__ import annotations

from pathlib import Path

__all__ = ["write_index"]

_VERSIONS = 200
_ENTRY = """  - annotations:
      artifacthub.io/license: Apache-2.0
      artifacthub.io/changes: |
        - kind: added
          description: entry number {number}
    apiVersion: v2
    appVersion: {version}
    created: "2024-01-{day:02d}T10:20:30.123456789Z"
    dependencies:
    - name: common
      repository: https://charts.example.com/common
      version: 1.x.x
    description: Chart {chart} does what it says in words that nobody reads.
    digest: abcdef{number:058x}
    home: https://example.com/charts/{chart}
    icon: https://example.com/icon-{chart}.svg
    keywords:
    - web
    - number-{number}
    maintainers:
    - email: somebody@example.com
      name: somebody
    name: chart-{chart}
    sources:
    - https://github.com/example/charts
    urls:
    - https://charts.example.com/chart-{chart}-{version}.tgz
    version: {version}
"""


def write_index(path: Path, size: int) -> int:
    """Write an index of at most ``size`` bytes; how many versions are in it."""
    path.parent.mkdir(parents=True)
    written = number = 0
    with path.open("w") as out:
        written += out.write("apiVersion: v1\nentries:\n")
        while True:
            chart, within = divmod(number, _VERSIONS)
            text = "" if within else f"  chart-{chart}:\n"
            text += _ENTRY.format(
                chart=chart,
                number=number,
                day=number % 28 + 1,
                version=f"{within // 20}.{within % 20}.{number % 7}",
            )
            if written + len(text) > size:
                return number
            written += out.write(text)
            number += 1
