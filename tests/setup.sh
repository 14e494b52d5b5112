#!/usr/bin/env bash
# Installs what tests need beyond Python packages: OpenSSH's server, for Git over SSH.
# Quiet, may be run again, and never fails: where it cannot install, it says so and the tests
# that need it are skipped and counted.
set -u

have_sshd() { command -v sshd >/dev/null 2>&1 || [ -x /usr/sbin/sshd ]; }

if have_sshd; then
  exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "tests/setup.sh: no sshd here and no way to install it; tests of Git over SSH are skipped" >&2
  exit 0
fi

# The package would start a server on port 22; the tests only need the program.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi
install() {
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends \
    openssh-server >/dev/null 2>&1
}
install || { apt-get update --quiet >/dev/null 2>&1 && install; } || true

have_sshd || echo "tests/setup.sh: openssh-server could not be installed; tests of Git over SSH are skipped" >&2
exit 0
