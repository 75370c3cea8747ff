"""How the simulated services behave: their own numbers and manners, and the faults a test wants.

`Behaviour` is frozen and replaced whole, in the process or over HTTP as JSON. A fault strikes
`times` times, None forever; the services count, and start again when the behaviour is replaced.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

type Api = Literal[
    "GetDataEndpoint",
    "DescribeStream",
    "ListFragments",
    "GetMediaForFragmentList",
    "GetMedia",
    "DescribeContact",
    "SearchContacts",
    "ListAssociatedContacts",
    "ListInstances",
    "ListInstanceStorageConfigs",
    "ListLambdaFunctions",
    "CreateStream",
    "DeleteStream",
    "ListStreams",
    "GetServiceQuota",
    "TagStream",
    "ListTagsForStream",
    "PutMedia",
    "TestCases",
]
type Breakage = Literal["reset", "close", "stall"]
"""How a connection ends: by a reset, by a close, or by silence until the client has gone."""


@dataclass(frozen=True, slots=True)
class FragmentFault:
    """Trouble with one fragment inside a media body that began with HTTP 200.

    Attributes:
        number: the fragment; None is every fragment.
        kind: an error document of either family in the fragment's place, or the fragment left out,
            or sent twice.
        code: of the error document; "" is the family's usual one.
        detail: its message (`exception`) or its id (`error`); "" is the family's usual one.
        rest_follows: whether the rest of the body comes after an error document.
        api: where; GetMedia always ends at an error.
    """

    number: int | None
    kind: Literal["exception", "error", "left_out", "duplicated"] = "exception"
    code: str = ""
    detail: str = ""
    times: int | None = 1
    rest_follows: bool = True
    api: Literal["GetMediaForFragmentList", "GetMedia"] = "GetMediaForFragmentList"

    @property
    def error(self) -> tuple[str, str]:
        """Code and detail of the error document."""
        code, detail = _USUAL_ERRORS.get(self.kind, ("", ""))
        return self.code or code, self.detail or detail


_USUAL_ERRORS: Final[Mapping[str, tuple[str, str]]] = {
    "exception": ("3000", "Fragment could not be read"),
    "error": ("FRAGMENT_NOT_FOUND", "3000"),
}


@dataclass(frozen=True, slots=True)
class BodyFault:
    """An answer's body that goes wrong behind `after_bytes`.

    Attributes:
        kind: it ends in good order; or the connection breaks; or 2 kB that are not EBML come in
            between (`garbage`), or the next byte's lowest bit is wrong (`flip`), and the rest
            follows.
    """

    after_bytes: int
    kind: Literal["end", "garbage", "flip"] | Breakage = "end"
    times: int | None = 1
    api: Api = "GetMediaForFragmentList"


@dataclass(frozen=True, slots=True)
class ConnectionFault:
    """A connection that breaks before an answer's body: before anything, or inside the headers."""

    api: Api
    kind: Breakage = "reset"
    stage: Literal["start", "headers"] = "start"
    times: int | None = 1


@dataclass(frozen=True, slots=True)
class EndpointFault:
    """A data endpoint that does not work, as GetDataEndpoint names it; the next one may.

    Attributes:
        kind: nothing listens there; or it answers `after_calls` calls, and the others with 404.
    """

    kind: Literal["refused", "gone"] = "refused"
    after_calls: int = 0
    times: int | None = 1


@dataclass(frozen=True, slots=True)
class PageFault:
    """A page of ListFragments whose fragments are left out, or that comes again as the next one.

    Attributes:
        page: counted from 0; None is every page.
    """

    kind: Literal["lost", "repeated"]
    page: int | None = None
    times: int | None = 1


@dataclass(frozen=True, slots=True)
class ClockFault:
    """The services' clock moves when an API is called: retention may end in between two calls."""

    api: Api
    advance_ms: int
    times: int | None = 1


@dataclass(frozen=True, slots=True)
class CallFault:
    """A call that is refused before anything else is looked at."""

    api: Api
    error_type: str = "ClientLimitExceededException"
    status: int = 400
    message: str = "Rate exceeded"
    times: int | None = 1


@dataclass(frozen=True, slots=True)
class PutMediaFault:
    """A PutMedia session that goes wrong when its fragment number `after_fragments` is whole.

    Attributes:
        kind: the acknowledgement is an ERROR with `error_id`; or the connection is reset; or
            everything is taken and nothing more is acknowledged (`silence`).
    """

    after_fragments: int = 0
    kind: Literal["error", "reset", "silence"] = "error"
    error_id: int = 5000
    times: int | None = 1


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The services' manners; a quota of None is off.

    Attributes:
        listing_delay_ms: a fragment is listed so long after the service had all of it.
        list_order: of the whole result of ListFragments, across pages.
        listed_lengths: what ListFragments says of a fragment's length: from its first block to its
            last, or nothing (seen of audio).
        empty_page: how a page without fragments is written.
        empty_before_creation: a range that begins before the creation in the stream's ARN is empty
            (reported in 2018).
        ends_in_empty_page: a listing ends in a page without fragments.
        page_limit: maximum fragments a page, whatever the request says.
        media_order: of the answer of GetMediaForFragmentList.
        seed: of both random orders.
        uninvited_fragments: numbers that GetMediaForFragmentList adds to every answer.
        unreadable_fragments: numbers that are listed, and invalid to GetMediaForFragmentList.
        unlisted_fragments: numbers that exist but that ListFragments never shows.
        body_write_bytes: size of the writes of a media body; None writes document by document.
        requests_per_connection: after this many answers, the next request resets the connection.
        fragment_faults, body_faults, connection_faults, call_faults, endpoint_faults, page_faults,
            clock_faults, put_media_faults: the faults.
        get_media_limit_s: GetMedia ends after so long.
        recordings_delay_ms: DescribeContact shows Recordings so long after the contact has ended.
        body_bytes_per_s: pace of each media session.
        media_sessions: concurrent GetMediaForFragmentList sessions of a stream.
        fragments_per_s: fragments of a stream that GetMediaForFragmentList is asked for.
        listed_fragments_per_s: sum of MaxResults of a stream's ListFragments calls.
        data_endpoint_calls_per_s: GetDataEndpoint calls of a stream and API name.
        get_media_connections: concurrent GetMedia sessions of a stream.
        get_media_calls_per_s: GetMedia calls of a stream.
        describe_contact_calls_per_s: DescribeContact calls of the account.
        search_contacts_calls_per_s: SearchContacts calls of the account.
        streams: the account's quota of streams, as Service Quotas gives it; None: it gives none.
        creating_ms, deleting_ms: a stream is CREATING and DELETING for so long.
        persist_delay_ms: PERSISTED comes so long after RECEIVED.
        put_media_idle_s: a PutMedia session ends after so long without a byte.
        put_media_connections: concurrent PutMedia sessions of a stream.
        put_media_calls_per_s: PutMedia calls of a stream.
        put_media_fragments_per_s: fragments of a PutMedia session that are taken.
        simulated_media: whether a contact that Connect simulates reaches media streaming.
        spoken_input: the instruction that a test case speaks by; the sources have two names.
        test_execution_ms: a test case's execution is IN_PROGRESS for so long.
    """

    listing_delay_ms: int = 1000
    list_order: Literal["random", "number"] = "random"
    listed_lengths: Literal["blocks", "zero"] = "blocks"
    empty_page: Literal["list", "null", "absent"] = "list"
    empty_before_creation: bool = False
    ends_in_empty_page: bool = False
    page_limit: int | None = None
    media_order: Literal["asked", "number", "random"] = "asked"
    seed: int = 0
    uninvited_fragments: tuple[int, ...] = ()
    unreadable_fragments: tuple[int, ...] = ()
    unlisted_fragments: tuple[int, ...] = ()
    body_write_bytes: int | None = 65536
    requests_per_connection: int | None = None
    fragment_faults: tuple[FragmentFault, ...] = ()
    body_faults: tuple[BodyFault, ...] = ()
    connection_faults: tuple[ConnectionFault, ...] = ()
    call_faults: tuple[CallFault, ...] = ()
    endpoint_faults: tuple[EndpointFault, ...] = ()
    page_faults: tuple[PageFault, ...] = ()
    clock_faults: tuple[ClockFault, ...] = ()
    get_media_limit_s: float = 45 * 60
    recordings_delay_ms: int = 0
    body_bytes_per_s: int | None = 25_000_000
    media_sessions: int | None = 5
    fragments_per_s: int | None = 500
    listed_fragments_per_s: int | None = 10_000
    data_endpoint_calls_per_s: int | None = 5
    get_media_connections: int | None = 3
    get_media_calls_per_s: int | None = 5
    describe_contact_calls_per_s: int | None = 10
    search_contacts_calls_per_s: float | None = 0.5
    streams: int | None = 10_000
    creating_ms: int = 1500
    deleting_ms: int = 1500
    persist_delay_ms: int = 100
    put_media_idle_s: float = 30
    put_media_faults: tuple[PutMediaFault, ...] = ()
    put_media_connections: int | None = 1
    put_media_calls_per_s: int | None = 5
    put_media_fragments_per_s: int | None = 5
    simulated_media: bool = True
    spoken_input: str = "Utterance"
    test_execution_ms: int = 3000


CONNECT_DEFAULTS: Final = Behaviour()
UNLIMITED: Final = Behaviour(
    body_bytes_per_s=None,
    media_sessions=None,
    fragments_per_s=None,
    listed_fragments_per_s=None,
    data_endpoint_calls_per_s=None,
    get_media_connections=None,
    get_media_calls_per_s=None,
    describe_contact_calls_per_s=None,
    search_contacts_calls_per_s=None,
    put_media_connections=None,
    put_media_calls_per_s=None,
    put_media_fragments_per_s=None,
)


def decode_behaviour(values: Mapping[str, Any]) -> Behaviour:
    """A behaviour from JSON; what is not named keeps its default. Fragment numbers may be strings.

    Raises:
        ValueError: a name is unknown.
    """
    named = dict(values)
    for name, fault in _FAULTS.items():
        if name in named:
            named[name] = tuple(_decode(fault, entry) for entry in named[name])
    for name in ("uninvited_fragments", "unreadable_fragments", "unlisted_fragments"):
        if name in named:
            named[name] = tuple(map(int, named[name]))
    behaviour: Behaviour = _decode(Behaviour, named)
    return behaviour


_FAULTS: Final[Mapping[str, type[Any]]] = {
    "fragment_faults": FragmentFault,
    "body_faults": BodyFault,
    "connection_faults": ConnectionFault,
    "call_faults": CallFault,
    "endpoint_faults": EndpointFault,
    "page_faults": PageFault,
    "clock_faults": ClockFault,
    "put_media_faults": PutMediaFault,
}


def _decode(kind: type[Any], values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a Behaviour or a fault
    unknown = values.keys() - {field.name for field in fields(kind)}
    if unknown:
        raise ValueError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
    named = dict(values)
    if kind is FragmentFault and isinstance(named.get("number"), str):
        named["number"] = int(named["number"])
    return kind(**named)
