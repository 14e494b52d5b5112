"""known_hosts, line by line."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from source_controller.git.hostkeys import check_host_key, fingerprint, keys_for, preference_file


def key(name: str, kind: str = "ssh-ed25519") -> bytes:
    return len(kind).to_bytes(4, "big") + kind.encode() + name.encode()


def line(hosts: str, blob: bytes, kind: str = "ssh-ed25519") -> str:
    return f"{hosts} {kind} {base64.b64encode(blob).decode()} comment\n"


def hashed(host: str) -> str:
    salt = b"0123456789abcdefghij"
    digest = hmac.new(salt, host.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


GOOD, BAD = key("good"), key("bad")


@pytest.mark.parametrize(
    ("hosts", "host", "port", "known"),
    [
        ("git.example", "git.example", 22, True),
        ("GIT.example", "Git.Example", 22, True),
        ("a,git.example,b", "git.example", 22, True),
        ("git.example", "git.example", 2222, False),
        ("[git.example]:2222", "git.example", 2222, True),
        ("[git.example]:2222", "git.example", 22, False),
        ("*.example", "git.example", 22, True),
        ("*.example", "example", 22, False),
        ("g?t.example", "git.example", 22, True),
        ("*,!git.example", "git.example", 22, False),
        ("!other,*", "git.example", 22, True),
        ("gitXexample", "git.example", 22, False),
        ("git.example.evil", "git.example", 22, False),
        ("[gi]t.example", "gt.example", 22, False),
        (hashed("git.example"), "git.example", 22, True),
        (hashed("git.example"), "other", 22, False),
        (hashed("[git.example]:2222"), "git.example", 2222, True),
        ("|1|broken", "git.example", 22, False),
        ("2001:db8::1", "2001:db8::1", 22, True),
    ],
)
def test_which_lines_match(hosts: str, host: str, port: int, *, known: bool) -> None:
    problem = check_host_key(line(hosts, GOOD), host, port, GOOD)

    assert (problem == "") is known


def test_why_a_key_is_refused() -> None:
    known = "# comment\n\n" + line("git.example", GOOD)
    assert check_host_key(known, "git.example", 22, GOOD) == ""
    assert "mismatch" in check_host_key(known, "git.example", 22, BAD)
    assert fingerprint(BAD) in check_host_key(known, "git.example", 22, BAD)
    assert "unknown" in check_host_key(known, "other.example", 22, GOOD)
    assert "unknown" in check_host_key("", "git.example", 22, GOOD)


def test_a_revoked_key_is_refused_even_if_it_is_listed() -> None:
    known = line("git.example", GOOD) + "@revoked " + line("*", GOOD)

    assert "revoked" in check_host_key(known, "git.example", 22, GOOD)


@pytest.mark.parametrize(
    "text",
    [
        "@cert-authority " + line("*", GOOD),
        "@unknown " + line("*", GOOD),
        "git.example ssh-ed25519\n",
        "git.example ssh-ed25519 !!!notbase64\n",
        line("git.example", GOOD, kind="ssh-rsa"),
        line("git.example", GOOD)[:-30] + "\n",
        "git.example " + "x" * 70000,
    ],
)
def test_lines_that_do_not_count(text: str) -> None:
    assert check_host_key(text, "git.example", 22, GOOD) != ""


def test_several_keys_of_one_host_all_count() -> None:
    rsa = key("r", "ssh-rsa")
    known = line("git.example", GOOD) + line("git.example", rsa, "ssh-rsa")

    assert [k.kind for k in keys_for(known, "git.example", 22)] == ["ssh-ed25519", "ssh-rsa"]
    assert check_host_key(known, "git.example", 22, rsa) == ""
    written = preference_file(known, "git.example", 22, names="127.0.0.1,[127.0.0.1]:9")
    assert written.count("127.0.0.1,[127.0.0.1]:9 ssh-") == 2
