"""boto3's clients for a person at a terminal: the ordinary credential chain and region.

boto3 is imported when the first client is made: help and completion need none.
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from call_archive_cli.exits import CommandError

if TYPE_CHECKING:
    from boto3.session import Session
    from botocore.config import Config
    from mypy_boto3_connect import ConnectClient
    from mypy_boto3_kinesis_video_archived_media import KinesisVideoArchivedMediaClient
    from mypy_boto3_kinesis_video_media import KinesisVideoMediaClient
    from mypy_boto3_kinesisvideo import KinesisVideoClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

CONNECT_TIMEOUT_S: Final = 5.0
READ_TIMEOUT_S: Final = 20.0
ATTEMPTS: Final = 3
PATIENT_ATTEMPTS: Final = 8
"""For Amazon Connect: its quotas are small."""

CONNECTIONS: Final = 32
"""At least one for each thread that asks S3 at the same time."""


class Clients:
    """One boto3 session, and each client once; several threads may ask for one."""

    def __init__(self, profile: str | None = None, region: str | None = None) -> None:
        self._profile = profile
        self._region = region
        self._made: dict[tuple[object, ...], Any] = {}
        # Making clients is the one thing that boto3 does not let two threads do at a time.
        self._lock = threading.Lock()

    def s3(self) -> S3Client:
        """S3, for recordings and manifests."""
        return self.named("s3")  # type: ignore[no-any-return] # by name

    def presigning_s3(self) -> S3Client:
        """S3 with Signature Version 4 in every region, which URLs of KMS-encrypted objects need."""
        return self._make("s3", signature_version="s3v4")  # type: ignore[no-any-return] # by name

    def sqs(self) -> SQSClient:
        """SQS, for both queues."""
        return self.named("sqs")  # type: ignore[no-any-return] # by name

    def connect(self, region: str) -> ConnectClient:
        """Amazon Connect where the instance is."""
        return self._make("connect", region, attempts=PATIENT_ATTEMPTS)  # type: ignore[no-any-return] # by name

    def kinesis_video(self, region: str) -> KinesisVideoClient:
        """The KVS control API."""
        return self._make("kinesisvideo", region)  # type: ignore[no-any-return] # by name

    def archived_media(self, region: str, data_endpoint: str) -> KinesisVideoArchivedMediaClient:
        """The KVS archived media API behind one data endpoint."""
        return self._make("kinesis-video-archived-media", region, data_endpoint)  # type: ignore[no-any-return] # by name

    def live_media(
        self, region: str, data_endpoint: str, read_timeout_s: float
    ) -> KinesisVideoMediaClient:
        """The KVS media API; a body without news fails after the timeout."""
        return self._make(  # type: ignore[no-any-return] # by name
            "kinesis-video-media", region, data_endpoint, read_timeout_s=read_timeout_s
        )

    def named(self, service: str) -> Any:  # noqa: ANN401 - whichever client the name says
        """The client of a service in the session's region."""
        return self._make(service)

    @cached_property
    def session(self) -> Session:
        """boto3's session."""
        from boto3.session import Session  # noqa: PLC0415 - see the module

        session = Session(profile_name=self._profile, region_name=self._region)
        _find_credentials(session)
        return session

    @property
    def region(self) -> str:
        """The session's region; "" if none is configured."""
        return self.session.region_name or ""

    def _make(
        self,
        service: str,
        region: str | None = None,
        endpoint_url: str | None = None,
        *,
        attempts: int = ATTEMPTS,
        read_timeout_s: float = READ_TIMEOUT_S,
        signature_version: str | None = None,
    ) -> Any:  # noqa: ANN401 - whichever client the name says
        key = (service, region, endpoint_url, attempts, read_timeout_s, signature_version)
        with self._lock:
            if key not in self._made:
                config = _config(attempts, read_timeout_s, signature_version)
                try:
                    self._made[key] = self.session.client(  # type: ignore[call-overload] # by name
                        service, region_name=region, endpoint_url=endpoint_url, config=config
                    )
                except ValueError as error:
                    raise CommandError(
                        f"{error}: check AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_* and endpoint_url in "
                        "~/.aws/config"
                    ) from error
            return self._made[key]


def _find_credentials(session: Session) -> None:
    """Asks for a code of an MFA device, or runs a credential process, before anything else.

    Raises:
        CommandError: they are not available.
        BotoCoreError: any other failure of botocore.
    """
    try:
        credentials = session.get_credentials()
        if credentials is not None:
            credentials.get_frozen_credentials()
    except EOFError as error:
        raise CommandError(
            "no usable AWS credentials: the profile asks for an MFA code without a terminal to "
            "enter it: run `aws sts get-caller-identity` in a terminal, or choose another --profile"
        ) from error
    except (KeyError, OSError, TypeError, ValueError) as error:
        from call_archive_cli.errors import LOG_IN  # noqa: PLC0415 - loads botocore

        raise CommandError(
            f"no usable AWS credentials: the profile's credential_process or cache gives none "
            f"({type(error).__name__}: {error}); {LOG_IN}"
        ) from error


def _config(attempts: int, read_timeout_s: float, signature_version: str | None) -> Config:
    from botocore.config import Config  # noqa: PLC0415 - see the module

    return Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=read_timeout_s,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=CONNECTIONS,
        tcp_keepalive=True,
        signature_version=signature_version,
    )
