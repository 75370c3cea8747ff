"""Call Archive's failures, grouped by who can act on them.

Every failure is an `ArchiveError`: it has a `code` (one word that operators search for), a text
that says what was wrong and what to do, and `retryable`, which decides whether a job comes back
by message visibility or goes to the failed-jobs queue. Texts never hold audio, phone numbers or
contact attributes.
"""

from call_archive.reasons import AnyCode, Reason


class ArchiveError(Exception):
    """A call cannot be archived, or cannot be archived yet.

    Attributes:
        code: what happened, in upper case with underscores; stable, safe to log and to count.
        retryable: whether the same job can succeed later without a person's action.
    """

    retryable = False

    def __init__(self, code: AnyCode, text: str, *, retryable: bool | None = None) -> None:
        super().__init__(text)
        self.code = code
        if retryable is not None:
            self.retryable = retryable

    @property
    def reason(self) -> Reason:
        """Code and text."""
        return Reason(self.code, str(self))


class ConfigurationError(ArchiveError):
    """The function's environment is wrong: its deployer has to act."""


class RequestError(ArchiveError):
    """The event or the message is wrong: its sender has to act."""


class MediaError(ArchiveError):
    """The bytes are not what KVS sends. They are requested again; nothing else can be done."""

    retryable = True


class StreamFaultError(ArchiveError):
    """KVS refused or failed, by HTTP status or by an error document inside the body."""


class ContactFaultError(ArchiveError):
    """Connect refused or failed to describe the contact."""


class StorageFaultError(ArchiveError):
    """S3 refused or failed to take the recording or the manifest."""


class IncompleteRecordingError(ArchiveError):
    """The recording is published, with a list of what is missing; the person on call checks it."""


class QueueFaultError(ArchiveError):
    """SQS refused or failed to accept or to change a message."""

    retryable = True


class NotYetError(ArchiveError):
    """What the job needs does not exist yet: the job comes back by itself.

    Attributes:
        retry_after_s: when a retry is useful; None leaves that to the receive count.
    """

    retryable = True

    def __init__(self, code: AnyCode, text: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(code, text)
        self.retry_after_s = retry_after_s


class OutOfTimeError(ArchiveError):
    """The function's time is nearly over: nothing was published and the job comes back."""

    retryable = True
