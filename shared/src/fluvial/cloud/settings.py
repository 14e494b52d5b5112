"""What the process's environment says about its own cloud identity, under the clouds' own names.

Only the composition root reads the environment; here it is a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["AwsSettings", "AzureSettings", "CloudSettings", "GcpSettings"]


@dataclass(frozen=True, slots=True)
class AwsSettings:
    """``AWS_*``, as the AWS SDKs know them; shared configuration files are not read."""

    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    region: str = ""
    role_arn: str = ""
    role_session_name: str = ""
    web_identity_token_file: str = ""
    container_relative_uri: str = ""
    container_full_uri: str = ""
    container_token: str = field(default="", repr=False)
    container_token_file: str = ""
    metadata_disabled: bool = False


@dataclass(frozen=True, slots=True)
class AzureSettings:
    """``AZURE_*``, as azidentity and the workload identity webhook know them."""

    tenant_id: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    certificate_path: str = ""
    certificate_password: str = field(default="", repr=False)
    federated_token_file: str = ""
    authority_host: str = ""


@dataclass(frozen=True, slots=True)
class GcpSettings:
    """``GOOGLE_APPLICATION_CREDENTIALS``: a file with a key or a federation."""

    credentials_file: str = ""


@dataclass(frozen=True, slots=True)
class CloudSettings:
    """All of it; empty is what a process without any such variable has."""

    aws: AwsSettings = field(default_factory=AwsSettings)
    azure: AzureSettings = field(default_factory=AzureSettings)
    gcp: GcpSettings = field(default_factory=GcpSettings)

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> CloudSettings:
        """From the environment of the process."""

        def value(*names: str) -> str:
            return next((environ[name] for name in names if environ.get(name)), "")

        return cls(
            aws=AwsSettings(
                access_key=value("AWS_ACCESS_KEY_ID"),
                secret_key=value("AWS_SECRET_ACCESS_KEY"),
                session_token=value("AWS_SESSION_TOKEN"),
                region=value("AWS_REGION", "AWS_DEFAULT_REGION"),
                role_arn=value("AWS_ROLE_ARN"),
                role_session_name=value("AWS_ROLE_SESSION_NAME"),
                web_identity_token_file=value("AWS_WEB_IDENTITY_TOKEN_FILE"),
                container_relative_uri=value("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
                container_full_uri=value("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
                container_token=value("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
                container_token_file=value("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
                metadata_disabled=value("AWS_EC2_METADATA_DISABLED").lower() == "true",
            ),
            azure=AzureSettings(
                tenant_id=value("AZURE_TENANT_ID"),
                client_id=value("AZURE_CLIENT_ID"),
                client_secret=value("AZURE_CLIENT_SECRET"),
                certificate_path=value("AZURE_CLIENT_CERTIFICATE_PATH"),
                certificate_password=value("AZURE_CLIENT_CERTIFICATE_PASSWORD"),
                federated_token_file=value("AZURE_FEDERATED_TOKEN_FILE"),
                authority_host=value("AZURE_AUTHORITY_HOST"),
            ),
            gcp=GcpSettings(credentials_file=value("GOOGLE_APPLICATION_CREDENTIALS")),
        )
