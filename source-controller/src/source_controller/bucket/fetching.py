"""The source step: from the spec to the objects of a bucket, or to the news that none is new."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path

from fluvial.api.source_bucket import Bucket
from fluvial.artifact.digest import ALGORITHMS, Digest
from fluvial.artifact.errors import ArtifactTooLarge
from fluvial.artifact.ignore import IGNORE_FILE, Matcher, parse_lines
from fluvial.artifact.threads import in_thread
from fluvial.cloud.errors import CloudError, IdentityDisabled, LoginUnreachable
from fluvial.kube.client import KubeClient
from fluvial.net.tls import InvalidTls
from source_controller.bucket import reasons
from source_controller.bucket.access import BucketAccess, check_sts, read_access
from source_controller.bucket.download import download, fetch_small
from source_controller.bucket.index import digest_of, read_index
from source_controller.bucket.opening import Stores
from source_controller.bucket.sharing import Archive, Fetches, Wanted, trust_domain
from source_controller.bucket.stores.errors import BadCredentials, NoBucket, StoreError
from source_controller.bucket.stores.model import Item, Store
from source_controller.oci.errors import InvalidCredentials
from source_controller.source import reasons as common
from source_controller.source.run import Run, StatusWriter, StepFailed
from source_controller.source.secrets import auth_failed

__all__ = ["Fetched", "SourceStep"]

_MAX_IGNORE = 1 << 20


@dataclass(frozen=True, slots=True)
class Fetched:
    """What the bucket has.

    Attributes:
        revision: digest of the index.
        archive: of the objects; ``None`` if the stored artifact has them.
        number: of objects.

    """

    revision: Digest
    archive: Archive | None
    number: int


class SourceStep:
    """Asks the storage what is new, and fetches it.

    Args:
        client: reads the Secrets.
        stores: opens the storage.
        fetches: shared by all objects.
        writer: for progress.
        algorithm: of new revisions.

    """

    def __init__(
        self,
        client: KubeClient,
        stores: Stores,
        fetches: Fetches,
        writer: StatusWriter,
        *,
        algorithm: str,
    ) -> None:
        self._client = client
        self._stores = stores
        self._fetches = fetches
        self._writer = writer
        self._algorithm = algorithm

    async def run(self, run: Run[Bucket]) -> Fetched:
        """Everything that needs the storage, within ``spec.timeout``.

        Raises:
            StepFailed: ``InvalidSTSConfiguration``, ``URLInvalid``, ``AuthenticationFailed``,
                ``FeatureGateDisabled``, ``BucketOperationFailed``, ``DirectoryCreationFailed`` or
                ``ArchiveOperationFailed``.

        """
        spec = run.obj.spec
        check_sts(spec)
        access = await read_access(self._client, run.key.namespace, spec)
        try:
            async with (
                asyncio.timeout(spec.timeout_seconds),
                self._stores.open(run.key.namespace, spec, access) as store,
            ):
                fetched = await self._fetch(run, store, access)
        except (CloudError, StoreError, InvalidCredentials, InvalidTls) as error:
            raise _explained(error, spec.bucket_name) from error
        except TimeoutError as error:
            raise _failed(
                f"bucket '{spec.bucket_name}' was not fetched within {spec.timeout}"
            ) from error
        except (OSError, ArtifactTooLarge) as error:
            text = error.strerror if isinstance(error, OSError) else str(error)
            raise StepFailed(
                common.STORAGE_OPERATION_FAILED,
                common.ARCHIVE_OPERATION_FAILED,
                f"unable to archive artifact to storage: {text}",
            ) from error
        run.clear(common.FETCH_FAILED)
        return fetched

    async def _fetch(self, run: Run[Bucket], store: Store, access: BucketAccess) -> Fetched:
        spec, limits = run.obj.spec, self._stores.limits
        rules = await fetch_small(store, IGNORE_FILE, limit=_MAX_IGNORE)
        index = await read_index(store, spec.prefix, _matcher(rules, spec.ignore), limits)
        if await self._is_stored(run, index):
            assert run.artifact is not None  # noqa: S101  # it has that revision
            return Fetched(Digest.parse(run.artifact.revision), None, len(index))
        listed = await in_thread(lambda _: digest_of(index, self._algorithm))
        await self._announce(run, listed)

        async def fill(tree: Path) -> dict[str, Item]:
            if rules is not None:
                (tree / IGNORE_FILE).write_bytes(rules)
            return await download(store, index, tree, limits)

        wanted = Wanted(
            trust_domain(run.key.namespace, spec, access),
            str(listed),
            "" if rules is None else hashlib.sha256(rules).hexdigest(),
        )
        archive = await self._fetches.get(wanted, fill)
        return Fetched(archive.revision, archive, archive.number)

    async def _is_stored(self, run: Run[Bucket], index: dict[str, Item]) -> bool:
        """Whether the artifact has these objects; its revision may be of another algorithm."""
        if run.artifact is None:
            return False
        algorithm = run.artifact.revision.partition(":")[0]
        if algorithm not in ALGORITHMS:
            return False
        found = await in_thread(lambda _: digest_of(index, algorithm))
        return str(found) == run.artifact.revision

    async def _announce(self, run: Run[Bucket], revision: Digest) -> None:
        message = f"new upstream revision '{revision}'"
        if run.artifact is not None:
            run.set_true(common.ARTIFACT_OUTDATED, common.NEW_REVISION, message)
        run.progress(f"building artifact: {message}", drift=True)
        await self._writer.progress(run)


def _matcher(rules: bytes | None, ignore: str | None) -> Matcher:
    """The rules of the bucket's own file, and after them those of the spec."""
    patterns = parse_lines(rules.decode(errors="replace")) if rules is not None else []
    return Matcher([*patterns, *parse_lines(ignore or "")])


def _explained(error: Exception, bucket: str) -> StepFailed:
    if isinstance(error, IdentityDisabled):
        return StepFailed(
            common.FETCH_FAILED, reasons.FEATURE_GATE_DISABLED, str(error), kind="stalled"
        )
    if isinstance(error, InvalidTls | InvalidCredentials):
        return auth_failed(f"failed to configure TLS: {error}")
    if isinstance(error, BadCredentials) or (
        isinstance(error, CloudError) and not isinstance(error, LoginUnreachable)
    ):
        return auth_failed(f"failed to get credentials for bucket '{bucket}': {error}")
    if isinstance(error, NoBucket):
        return _failed(f"bucket '{bucket}' not found")
    return _failed(f"failed to fetch bucket '{bucket}': {error}")


def _failed(message: str) -> StepFailed:
    return StepFailed(common.FETCH_FAILED, reasons.BUCKET_OPERATION_FAILED, message)
