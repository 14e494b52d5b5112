"""A sigstore of one's own for tests: authority, certificate log and transparency log in one.

Made after the specifications (RFC 6962, Rekor's entries, sigstore's bundle 0.3), because no real one
can be run here. What it makes is judged by the sigstore package, which is real.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["BUNDLE", "OwnSigstore", "statement_of"]

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_DSSE = "application/vnd.in-toto+json"


def statement_of(digest: str, **changes: Any) -> bytes:
    """What cosign signs."""
    algorithm, _, value = digest.partition(":")
    return orjson.dumps(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {algorithm: value}}],
            "predicateType": "https://sigstore.dev/cosign/sign/v1",
            "predicate": {},
        }
        | changes
    )


@dataclass(frozen=True)
class OwnSigstore:
    """Keys and a root; ``now`` is when everything happens."""

    now: datetime
    root_key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    ct_key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    log_key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def but(self, **changes: Any) -> OwnSigstore:
        """The same with another key."""
        return replace(self, **changes)

    def trusted_root(self) -> bytes:
        """``trusted_root.json``."""
        start = (self.now - timedelta(days=1)).isoformat()

        def log(key: ec.EllipticCurvePrivateKey, url: str) -> dict[str, Any]:
            return {
                "baseUrl": url,
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": _b64(_spki(key)),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": {"start": start},
                },
                "logId": {"keyId": _b64(_key_id(key))},
            }

        root = _b64(self.root.public_bytes(serialization.Encoding.DER))
        return orjson.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                "tlogs": [log(self.log_key, "https://rekor.example")],
                "certificateAuthorities": [
                    {
                        "subject": {"organization": "example", "commonName": "root"},
                        "uri": "https://fulcio.example",
                        "certChain": {"certificates": [{"rawBytes": root}]},
                        "validFor": {"start": start},
                    }
                ],
                "ctlogs": [log(self.ct_key, "https://ctlog.example")],
            }
        )

    @property
    def root(self) -> x509.Certificate:
        """The authority."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.root_key.public_key())
            .serial_number(1)
            .not_valid_before(self.now - timedelta(days=1))
            .not_valid_after(self.now + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.root_key.public_key()),
                critical=False,
            )
            .sign(self.root_key, hashes.SHA256())
        )

    def sign(
        self,
        payload: bytes,
        *,
        subject: str = "https://ci.example/release",
        issuer: str = "https://token.example",
        signed_after: timedelta = timedelta(0),
        with_sct: bool = True,
    ) -> dict[str, Any]:
        """A bundle.

        Args:
            payload: the statement.
            subject: URI of the signer.
            issuer: of the signer's identity.
            signed_after: how long after the certificate was made the log saw the signature.
            with_sct: whether the certificate log saw the certificate.

        """
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._certificate(key, subject, issuer, with_sct=with_sct)
        signature = key.sign(_pae(payload), ec.ECDSA(hashes.SHA256()))
        return {
            "mediaType": BUNDLE,
            "verificationMaterial": {
                "certificate": {
                    "rawBytes": _b64(certificate.public_bytes(serialization.Encoding.DER))
                },
                "tlogEntries": [
                    self._entry(payload, signature, certificate, self.now + signed_after)
                ],
            },
            "dsseEnvelope": {
                "payload": _b64(payload),
                "payloadType": _DSSE,
                "signatures": [{"sig": _b64(signature)}],
            },
        }

    def sign_simple(
        self,
        payload: bytes,
        *,
        subject: str = "https://ci.example/release",
        issuer: str = "https://token.example",
        signed_after: timedelta = timedelta(0),
        with_sct: bool = True,
    ) -> dict[str, str]:
        """What cosign 2 notes beside a payload; arguments as for ``sign``."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._certificate(key, subject, issuer, with_sct=with_sct)
        signature = key.sign(payload, ec.ECDSA(hashes.SHA256()))
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        body = orjson.dumps(
            {
                "apiVersion": "0.0.1",
                "kind": "hashedrekord",
                "spec": {
                    "data": {
                        "hash": {
                            "algorithm": "sha256",
                            "value": hashlib.sha256(payload).hexdigest(),
                        }
                    },
                    "signature": {
                        "content": _b64(signature),
                        "publicKey": {"content": _b64(pem)},
                    },
                },
            }
        )
        promised = {
            "body": _b64(body),
            "integratedTime": int((self.now + signed_after).timestamp()),
            "logID": _key_id(self.log_key).hex(),
            "logIndex": 7,
        }
        rekor = {
            "SignedEntryTimestamp": _b64(self._log_signs(orjson.dumps(promised))),
            "Payload": promised,
        }
        return {
            "dev.cosignproject.cosign/signature": _b64(signature),
            "dev.sigstore.cosign/certificate": pem.decode(),
            "dev.sigstore.cosign/bundle": orjson.dumps(rekor).decode(),
        }

    def _certificate(
        self, key: ec.EllipticCurvePrivateKey, subject: str, issuer: str, *, with_sct: bool
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.root.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - timedelta(minutes=1))
            .not_valid_after(self.now + timedelta(minutes=9))
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.root_key.public_key()),
                critical=False,
            )
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(subject)]),
                critical=True,
            )
            .add_extension(
                x509.UnrecognizedExtension(_ISSUER, asn1.encode_der(issuer)), critical=False
            )
        )
        before = builder.sign(self.root_key, hashes.SHA256())
        if not with_sct:
            return before
        listed = self._sct(before.tbs_certificate_bytes)
        packed = struct.pack("!HH", len(listed) + 2, len(listed)) + listed
        extension = x509.UnrecognizedExtension(_SCT_LIST, asn1.encode_der(packed))
        return builder.add_extension(extension, critical=False).sign(self.root_key, hashes.SHA256())

    def _sct(self, tbs: bytes) -> bytes:
        moment = struct.pack("!Q", int(self.now.timestamp()) * 1000)
        issuer_key = hashlib.sha256(_spki(self.root_key)).digest()
        length = struct.pack("!I", len(tbs))[1:]
        signed = b"\0\0" + moment + b"\0\1" + issuer_key + length + tbs + b"\0\0"
        signature = self.ct_key.sign(signed, ec.ECDSA(hashes.SHA256()))
        return (
            b"\0"
            + _key_id(self.ct_key)
            + moment
            + b"\0\0\4\3"
            + struct.pack("!H", len(signature))
            + signature
        )

    def _entry(
        self, payload: bytes, signature: bytes, certificate: x509.Certificate, moment: datetime
    ) -> dict[str, Any]:
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        body = orjson.dumps(
            {
                "apiVersion": "0.0.1",
                "kind": "dsse",
                "spec": {
                    "envelopeHash": {"algorithm": "sha256", "value": "0" * 64},
                    "payloadHash": {
                        "algorithm": "sha256",
                        "value": hashlib.sha256(payload).hexdigest(),
                    },
                    "signatures": [{"signature": _b64(signature), "verifier": _b64(pem)}],
                },
            }
        )
        leaf = hashlib.sha256(b"\0" + body).digest()
        seconds = int(moment.timestamp())
        promised = orjson.dumps(
            {
                "body": _b64(body),
                "integratedTime": seconds,
                "logID": _key_id(self.log_key).hex(),
                "logIndex": 0,
            }
        )
        return {
            "logIndex": "0",
            "logId": {"keyId": _b64(_key_id(self.log_key))},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(seconds),
            "inclusionPromise": {"signedEntryTimestamp": _b64(self._log_signs(promised))},
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": _b64(leaf),
                "treeSize": "1",
                "hashes": [],
                "checkpoint": {"envelope": self._checkpoint(leaf)},
            },
            "canonicalizedBody": _b64(body),
        }

    def _checkpoint(self, root: bytes) -> str:
        note = f"rekor.example - 1\n1\n{_b64(root)}\n"
        signature = _key_id(self.log_key)[:4] + self._log_signs(note.encode())
        return f"{note}\n\u2014 rekor.example {_b64(signature)}\n"

    def _log_signs(self, data: bytes) -> bytes:
        return self.log_key.sign(data, ec.ECDSA(hashes.SHA256()))


def _pae(payload: bytes) -> bytes:
    kind = _DSSE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _key_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(_spki(key)).digest()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _usage(**on: bool) -> x509.KeyUsage:
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: on.get(name, False) for name in names})
