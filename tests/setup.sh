#!/usr/bin/env bash
# Installs what tests need beyond Python packages: OpenSSH's server, for Git over SSH, GnuPG, for
# signatures, the CNCF's registry (distribution), for OCI, NATS and Alertmanager, for notifications, and, where npm is, Azurite, for buckets of Azure (186 MB).
# Quiet, may be run again, and never fails: where it cannot install, it says so and the tests that need it are skipped
# and counted.
set -u

have_sshd() { command -v sshd >/dev/null 2>&1 || [ -x /usr/sbin/sshd ]; }
have_gpg() { command -v gpg >/dev/null 2>&1; }
have_registry() { command -v docker-registry >/dev/null 2>&1; }
have_nats() { command -v nats-server >/dev/null 2>&1; }
have_alertmanager() { command -v prometheus-alertmanager >/dev/null 2>&1; }

azurite="$HOME/.cache/fluvial/azurite"
azurite_lock="$(dirname "$0")/objectstores/azurite"
have_azurite() { cmp -s "$azurite_lock/package-lock.json" "$azurite/installed.json"; }
install_azurite() {
  command -v node >/dev/null 2>&1 && mkdir -p "$azurite" && cp "$azurite_lock"/package*.json "$azurite" &&
    npm ci --prefix "$azurite" --ignore-scripts --omit=dev --no-audit --no-fund --silent >/dev/null 2>&1 &&
    cp "$azurite/package-lock.json" "$azurite/installed.json"
}
have_azurite || install_azurite || echo "tests/setup.sh: azurite could not be installed; tests of Azure's storage are skipped" >&2

packages=()
have_sshd || packages+=(openssh-server)
have_gpg || packages+=(gpg gpg-agent)
have_registry || packages+=(docker-registry)
have_nats || packages+=(nats-server)
have_alertmanager || packages+=(prometheus-alertmanager)
if [ "${#packages[@]}" = 0 ]; then
  exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "tests/setup.sh: no ${packages[*]} here and no way to install it; tests that need it are skipped" >&2
  exit 0
fi

# The packages would start servers on their usual ports; the tests only need the programs.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi
install() {
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends \
    "${packages[@]}" >/dev/null 2>&1
}
install || { apt-get update --quiet >/dev/null 2>&1 && install; } || true

have_sshd || echo "tests/setup.sh: openssh-server could not be installed; tests of Git over SSH are skipped" >&2
have_gpg || echo "tests/setup.sh: gpg could not be installed; tests of OpenPGP signatures are skipped" >&2
have_registry || echo "tests/setup.sh: docker-registry could not be installed; tests with a real registry are skipped" >&2
have_nats || echo "tests/setup.sh: nats-server could not be installed; tests with a real NATS are skipped" >&2
have_alertmanager || echo "tests/setup.sh: prometheus-alertmanager could not be installed; the test with a real one is skipped" >&2
exit 0
