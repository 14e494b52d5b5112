"""Real Git servers for tests: git's own http-backend behind aiohttp, and OpenSSH's sshd."""
