"""A seed → one call with everything that is going to happen to it.

Nothing here decides what has to come out: the checker knows that from what was sent. The same seed
and the same time give the same plan; another time only moves the plan's clock.
"""

import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from local.behaviour import (
    UNLIMITED,
    Behaviour,
    BodyFault,
    CallFault,
    ClockFault,
    ConnectionFault,
    EndpointFault,
    FragmentFault,
    PageFault,
)
from local.call import Call, Delivery, next_session, simulate_call
from local.demo_call import INSTANCE_ARN
from local.encoder import Layout
from local.moto_faults import Answer, MotoFault, Operation
from local.pcm import synthetic_pcm

type Trigger = Literal[
    "flow", "flow, not stopped yet", "DISCONNECTED", "COMPLETED", "contact record"
]
type Changes = dict[str, Any]

HOUR_MS: Final = 3_600_000
_FOR_EVER: Final = 0.06
"""What never ends is driven ten times, a minute in all: not too many of these."""
BYTES_PER_MS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One call of the campaign.

    Attributes:
        tracks: ArchiveFunction's ARCHIVE_TRACKS.
        customer, agent: what was said, 16-bit samples at 8 kHz.
        call: as it is on its stream, between `neighbours`.
        neighbour_seeds: of the neighbours' synthetic audio.
        kinds: the faults, as the table names them.
        behaviour: of the local KVS and Connect, for the whole of the call.
        moto_faults: of S3 and SQS, from when the triggers have been told.
        triggers: the messages about the call, in this order.
        is_streamed: False for a contact that never was; its fragments are not placed.
        recordings_after_ms: DescribeContact shows recordings so long after the call; None is never.
    """

    seed: int
    tracks: Literal["customer", "both"]
    customer: bytes
    agent: bytes
    delivery: Delivery
    call: Call
    neighbours: tuple[Call, ...]
    neighbour_seeds: tuple[int, ...]
    kinds: tuple[str, ...]
    behaviour: Behaviour
    moto_faults: tuple[MotoFault, ...]
    triggers: tuple[Trigger, ...]
    is_streamed: bool
    recordings_after_ms: int | None


@dataclass(slots=True)
class _Draft:
    """What the choosers see and change."""

    chance: random.Random
    call: Call
    delivery: Delivery
    knows_stop: bool
    asks_connect: bool
    changes: Changes = field(default_factory=dict)
    moto_faults: list[MotoFault] = field(default_factory=list)

    def add(self, name: str, *entries: object) -> None:
        self.changes[name] = (*self.changes.get(name, ()), *entries)

    def number(self) -> int:
        """Of any fragment."""
        return self.chance.choice(self.call.fragments).number

    def times(self, *, for_ever: bool = True) -> int | None:
        """Once, several times, or forever."""
        if for_ever and self.chance.random() < _FOR_EVER:
            return None
        return self.chance.choice((1, 1, 1, 1, 2, 2, 4, 8))

    def body_place(self) -> int:
        """Somewhere in the body that holds all of the call."""
        return self.chance.randrange(sum(f.size_bytes for f in self.call.fragments))


# ------------------------------------------------------------------ faults, one function a kind

_SERVER_TROUBLE: Final = (
    ("ClientLimitExceededException", 400),
    ("ThrottlingException", 429),
    ("InternalFailure", 500),
    ("ServiceUnavailableException", 503),
)
_KVS_APIS: Final = ("GetDataEndpoint", "ListFragments", "GetMediaForFragmentList")


def _error_document(draft: _Draft) -> None:
    kind: Any = draft.chance.choice(("exception", "error"))
    code = draft.chance.choice(("3000", "3002", "4000", "4503", "5000"))
    code, detail = (code, "") if kind == "exception" else ("AN_ERROR", code)
    rest_follows = draft.chance.random() < 0.7
    fault = FragmentFault(draft.number(), kind, code, detail, draft.times(), rest_follows)
    draft.add("fragment_faults", fault)


def _key_error_document(draft: _Draft) -> None:
    code = draft.chance.choice(("4500", "4501", "4502", "4504", "4505", "4506"))
    number = draft.chance.choice((None, draft.number()))
    draft.add("fragment_faults", FragmentFault(number, code=code, times=draft.times()))


def _left_out(draft: _Draft) -> None:
    fault = FragmentFault(draft.number(), "left_out", times=draft.times())
    draft.add("fragment_faults", fault)


def _sent_twice(draft: _Draft) -> None:
    draft.add("fragment_faults", FragmentFault(draft.number(), "duplicated", times=draft.times()))


def _uninvited(draft: _Draft) -> None:
    draft.changes["uninvited_fragments"] = "neighbours"


def _invalid_number(draft: _Draft) -> None:
    draft.add("unreadable_fragments", draft.number())


def _media_order(draft: _Draft) -> None:
    draft.changes["media_order"] = "random"


def _body(kind: Any, *, for_ever: bool = True) -> Callable[[_Draft], None]:
    def choose(draft: _Draft) -> None:
        fault = BodyFault(draft.body_place(), kind, draft.times(for_ever=for_ever))
        draft.add("body_faults", fault)

    return choose


def _stalled_body(draft: _Draft) -> None:
    draft.add("body_faults", BodyFault(draft.body_place(), "stall"))


def _flipped_bit(draft: _Draft) -> None:
    # Where a document begins. That no bit of a sample is flipped, only TLS can promise.
    fragments = draft.call.fragments
    at = draft.chance.randrange(len(fragments))
    element = draft.chance.choice(("1a45dfa3", "18538067"))
    place = fragments[at].document().index(bytes.fromhex(element))
    before = sum(len(fragment.document()) for fragment in fragments[:at])
    draft.add("body_faults", BodyFault(before + place + draft.chance.randrange(4), "flip"))


def _connection(kind: Any, stage: Any) -> Callable[[_Draft], None]:
    def choose(draft: _Draft) -> None:
        api: Any = draft.chance.choice(_KVS_APIS + ("DescribeContact",) * draft.asks_connect)
        draft.add("connection_faults", ConnectionFault(api, kind, stage, draft.times()))

    return choose


def _kept_connection(draft: _Draft) -> None:
    draft.changes["requests_per_connection"] = draft.chance.choice((2, 3, 4, 7))


def _damaged_json(draft: _Draft) -> None:
    api: Any = draft.chance.choice(
        ("GetDataEndpoint", "ListFragments") + ("DescribeContact",) * draft.asks_connect
    )
    kind: Any = draft.chance.choice(("end", "garbage", "flip", "reset", "close"))
    draft.add("body_faults", BodyFault(0, kind, draft.times(), api))


def _trouble(draft: _Draft) -> None:
    api: Any = draft.chance.choice(_KVS_APIS + ("DescribeContact",) * draft.asks_connect)
    error_type, status = draft.chance.choice(_SERVER_TROUBLE)
    draft.add("call_faults", CallFault(api, error_type, status, "no", draft.times()))


def _refused(draft: _Draft) -> None:
    api: Any = draft.chance.choice(_KVS_APIS)
    error_type, status = draft.chance.choice(
        (("NotAuthorizedException", 401), ("ResourceNotFoundException", 404))
    )
    draft.add("call_faults", CallFault(api, error_type, status, "no", draft.times()))


def _dead_endpoint(draft: _Draft) -> None:
    draft.add("endpoint_faults", EndpointFault("refused", times=draft.times()))


def _moved_endpoint(draft: _Draft) -> None:
    calls = draft.chance.randrange(4)
    draft.add("endpoint_faults", EndpointFault("gone", calls, draft.times(for_ever=False)))


def _pages(draft: _Draft) -> None:
    draft.changes["page_limit"] = draft.chance.choice((1, 2, 3))
    draft.changes["listed_lengths"] = draft.chance.choice(("blocks", "zero"))
    draft.changes["ends_in_empty_page"] = draft.chance.random() < 0.5
    draft.changes["empty_page"] = draft.chance.choice(("list", "null", "absent"))


def _repeated_page(draft: _Draft) -> None:
    draft.changes["page_limit"] = draft.chance.choice((1, 2, 3))
    times = draft.times(for_ever=False)
    draft.add("page_faults", PageFault("repeated", draft.chance.randrange(3), times))


def _lost_page(draft: _Draft) -> None:
    draft.changes["page_limit"] = draft.chance.choice((1, 2, 3))
    draft.changes["list_order"] = "number"
    draft.add("page_faults", PageFault("lost", draft.chance.randrange(4)))


def _late_tail(draft: _Draft) -> None:
    draft.changes["listing_delay_ms"] = draft.chance.choice((25_000, 45_000, 200_000, HOUR_MS * 9))


def _unlisted(draft: _Draft) -> None:
    fragments = draft.call.fragments
    draft.add("unlisted_fragments", draft.chance.choice((fragments[0], fragments[-1])).number)


def _retention(draft: _Draft) -> None:
    # The stream keeps 24 hours, and the call ended seconds ago.
    back_ms = draft.chance.choice((0, 0, draft.chance.randrange(40_000)))
    api: Any = draft.chance.choice(("ListFragments", "GetMediaForFragmentList"))
    draft.add("clock_faults", ClockFault(api, 24 * HOUR_MS - back_ms))


def _s3(*answers: Answer, for_ever: bool = True) -> Callable[[_Draft], None]:
    def choose(draft: _Draft) -> None:
        chance = draft.chance
        operation = chance.choice(_S3_OPERATIONS)
        fault = MotoFault(
            operation,
            chance.choice(answers),
            takes_effect=chance.random() < 0.5,
            times=draft.times(for_ever=for_ever),
            first_call=chance.choice((1, 1, 2)),
        )
        draft.moto_faults.append(fault)

    return choose


def _sqs(draft: _Draft) -> None:
    # Not forever: then SQS's own redrive ends it, and no code says why.
    operation: Operation = draft.chance.choice(("ChangeMessageVisibility", "SendMessage"))
    answer: Answer = draft.chance.choice(("InternalError", "ServiceUnavailable", "reset"))
    draft.moto_faults.append(MotoFault(operation, answer, times=draft.times(for_ever=False)))


_S3_OPERATIONS: Final[tuple[Operation, ...]] = ("PutObject", "GetObject", "HeadObject")


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of fault.

    Attributes:
        weight: how often, relative to the others.
        is_alone: nothing else may move what it strikes.
        needs_stop: only who knows the stop fragment can see what this takes away.
        needs_connect: strikes DescribeContact alone.
    """

    choose: Callable[[_Draft], None]
    weight: float = 1
    is_alone: bool = False
    needs_stop: bool = False
    needs_connect: bool = False


def _contact_fault(error_type: str, status: int) -> Callable[[_Draft], None]:
    def choose(draft: _Draft) -> None:
        fault = CallFault("DescribeContact", error_type, status, "no", draft.times())
        draft.add("call_faults", fault)

    return choose


def _late_recordings(draft: _Draft) -> None:
    draft.changes["recordings"] = draft.chance.choice((20_000, 120_000, 500_000))


def _no_recordings(draft: _Draft) -> None:
    draft.changes["recordings"] = None


KINDS: Final[Mapping[str, _Kind]] = {
    "error document for a fragment": _Kind(_error_document, 2),
    "error document about the key": _Kind(_key_error_document, 0.5),
    "fragment left out": _Kind(_left_out, 1.5),
    "fragment sent twice": _Kind(_sent_twice),
    "uninvited fragments": _Kind(_uninvited),
    "fragments in another order": _Kind(_media_order),
    "listed number is invalid": _Kind(_invalid_number),
    "body ends early": _Kind(_body("end"), 2),
    "body reset": _Kind(_body("reset")),
    "body closed": _Kind(_body("close")),
    "body stalls": _Kind(_stalled_body, 0.15),
    "garbage in a body": _Kind(_body("garbage", for_ever=False)),
    "bit flipped in a document's head": _Kind(_flipped_bit, is_alone=True),
    "reset before an answer": _Kind(_connection("reset", "start")),
    "closed before an answer": _Kind(_connection("close", "start")),
    "reset in the headers": _Kind(_connection("reset", "headers")),
    "closed in the headers": _Kind(_connection("close", "headers")),
    "kept connection reset": _Kind(_kept_connection),
    "JSON damaged": _Kind(_damaged_json),
    "throttled, or 5xx": _Kind(_trouble, 2),
    "refused": _Kind(_refused, 0.7),
    "data endpoint: nobody listens": _Kind(_dead_endpoint),
    "data endpoint moves": _Kind(_moved_endpoint),
    "pages of a listing": _Kind(_pages),
    "page of a listing repeated": _Kind(_repeated_page),
    "page of a listing lost once": _Kind(_lost_page, needs_stop=True),
    "tail listed late or never": _Kind(_late_tail, needs_stop=True),
    "start or stop never listed": _Kind(_unlisted, needs_stop=True),
    "retention ends": _Kind(_retention, 0.7),
    "DescribeContact: throttled": _Kind(
        _contact_fault("TooManyRequestsException", 429), needs_connect=True
    ),
    "DescribeContact: 404": _Kind(
        _contact_fault("ResourceNotFoundException", 404), needs_connect=True
    ),
    "DescribeContact: filled in late": _Kind(_late_recordings, needs_connect=True),
    "DescribeContact: never filled in": _Kind(_no_recordings, needs_connect=True),
    "S3: throttled, or 5xx": _Kind(_s3("InternalError", "SlowDown", "ServiceUnavailable")),
    "S3: reset": _Kind(_s3("reset", "cut")),
    "S3: refused": _Kind(_s3("AccessDenied"), 0.5),
    "S3: a condition fails": _Kind(_s3("PreconditionFailed", "ConditionalRequestConflict"), 0.5),
    "SQS takes no message or visibility": _Kind(_sqs),
}
"""Multipart uploads are too long for these calls: test_s3.py and kill_campaign.py have them."""

NO_FAULT: Final = "none"
NEVER_STREAMED: Final = "contact never streamed"


# ------------------------------------------------------------------ the call


def build_plan(seed: int, now_ms: int) -> Plan:
    """The plan of a seed for a call that ended a few seconds before `now_ms`."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    triggers = _choose_triggers(chance)
    knows_stop = "flow, not stopped yet" not in triggers
    asks_connect = any(trigger in ("DISCONNECTED", "COMPLETED") for trigger in triggers)
    kinds = _choose_kinds(chance, knows_stop=knows_stop, asks_connect=asks_connect)
    is_streamed = chance.random() > 0.03 or not asks_connect
    delivery = _choose_delivery(chance, kinds)
    customer = _speech(chance, seed * 4)
    agent = _speech(chance, seed * 4 + 1, len(customer))
    # A contact that was never streamed is let go ten minutes after its end.
    ended_ms_ago = 30_000 if is_streamed else 700_000
    lasted_ms = len(customer) // BYTES_PER_MS + sum(delivery.holes_ms.values())
    start_ms = now_ms - ended_ms_ago - lasted_ms
    identity = uuid.uuid5(uuid.NAMESPACE_OID, f"campaign {seed}")
    names: dict[str, Any] = {
        "instance_arn": INSTANCE_ARN,
        "stream_arn": "arn:aws:kinesisvideo:eu-west-2:123456789012:stream/"
        f"campaign-connect-demo-contact-{identity}/1640168106910",
    }
    call = simulate_call(
        customer,
        agent,
        contact_id=str(identity),
        start_ms=start_ms,
        first_sequence=4001,
        seed=seed,
        delivery=delivery,
        **names,
    )
    call = _save_attributes(call, chance)
    seeds = (seed * 4 + 2, seed * 4 + 3)
    draft = _Draft(chance, call, delivery, knows_stop, asks_connect)
    for kind in kinds:
        KINDS[kind].choose(draft)
    neighbours = _neighbours(call, seeds, names, kinds)
    recordings_after_ms = draft.changes.pop("recordings", 0)
    if draft.changes.get("uninvited_fragments") == "neighbours":
        draft.changes["uninvited_fragments"] = tuple(
            chance.choice(neighbour.fragments).number for neighbour in neighbours
        )
    return Plan(
        seed=seed,
        tracks=chance.choice(("customer", "both")),
        customer=customer,
        agent=agent,
        delivery=delivery,
        call=call,
        neighbours=neighbours,
        neighbour_seeds=seeds,
        kinds=kinds if is_streamed else (*kinds, NEVER_STREAMED),
        behaviour=replace(UNLIMITED, seed=seed, **draft.changes),
        moto_faults=tuple(draft.moto_faults),
        triggers=triggers if is_streamed else ("DISCONNECTED",),
        is_streamed=is_streamed,
        recordings_after_ms=recordings_after_ms if is_streamed else None,
    )


def _choose_triggers(chance: random.Random) -> tuple[Trigger, ...]:
    sets: tuple[tuple[Trigger, ...], ...] = (
        ("flow",),
        ("flow", "flow"),
        ("flow", "DISCONNECTED", "COMPLETED"),
        ("flow, not stopped yet",),
        ("flow, not stopped yet", "contact record"),
        ("DISCONNECTED",),
        ("DISCONNECTED", "DISCONNECTED", "contact record"),
        ("contact record",),
        ("contact record", "COMPLETED", "flow"),
    )
    return chance.choice(sets)


def _choose_kinds(
    chance: random.Random, *, knows_stop: bool, asks_connect: bool
) -> tuple[str, ...]:
    count = chance.choices((0, 1, 2, 3), (10, 55, 25, 10))[0]
    names = [
        name
        for name, kind in KINDS.items()
        if (knows_stop or not kind.needs_stop) and (asks_connect or not kind.needs_connect)
    ]
    weights = [KINDS[name].weight for name in names]
    chosen = tuple(dict.fromkeys(chance.choices(names, weights, k=count)))
    if any(KINDS[name].needs_stop for name in chosen):
        # Without Connect's recordings the job is made of saved attributes, which know no stop.
        chosen = tuple(name for name in chosen if "filled in" not in name)
    alone = [name for name in chosen if KINDS[name].is_alone]
    return tuple(alone[:1]) if alone else chosen


def _choose_delivery(chance: random.Random, kinds: tuple[str, ...]) -> Delivery:
    # A hole in a listing shows from half a second on.
    sizes = (960,) if "page of a listing lost once" in kinds else (320, 960, 960, 960, 1920)
    # Where the clock jumps, a hole of less than two seconds closes (decision 0004).
    traps = _TRAPS if kinds else (*_TRAPS, *_JUMPS)
    delivery = Delivery(
        layout=_choose_layout(chance),
        fragment_ms=chance.choice(sizes),
        block_bytes=chance.choice((320, 512, 1024, 1024, 1024)),
        clusters_per_fragment=chance.choice((1, 1, 1, 3)),
        timecode_lead_ms=chance.choice((0, 0, 0, 300)),
        swap_tracks_every=chance.choice((None, None, 1, 2)),
        customer_track_first=chance.random() < 0.7,
    )
    trap = chance.choice(traps) if chance.random() < 0.6 else None
    return delivery if trap is None else replace(delivery, **trap(chance))


def _choose_layout(chance: random.Random) -> Layout:
    cluster_size: Any = chance.choice(("unknown8", "unknown8", "unknown1", "known"))
    tag_names: Any = chance.choice(("SERVER", "SERVER_SIDE"))
    return Layout(
        cluster_size=cluster_size,
        segment_size_known=chance.random() < 0.1,
        contact_tags_before_cluster=chance.random() < 0.4,
        one_tags_element_each=chance.random() < 0.7,
        tag_names=tag_names,
        timecode_scale=chance.choice((1_000_000, 1_000_000, 100_000)),
        void_in_segment=chance.random() < 0.2,
        void_in_cluster=chance.random() < 0.2,
        crc32=cluster_size == "known" and chance.random() < 0.5,
        unregistered_in_segment=chance.random() < 0.2,
        unregistered_in_cluster=chance.random() < 0.2,
        nul_padding_bytes=chance.choice((0, 0, 3)),
    )


def _some(chance: random.Random) -> frozenset[int]:
    return frozenset(chance.sample(range(1, 8), chance.choice((1, 1, 2))))


_TRAPS: Final[tuple[Callable[[random.Random], Changes], ...]] = (
    lambda chance: {"untagged": _some(chance)},
    lambda chance: {"untagged": frozenset((0,))},
    lambda chance: {"without_tags": _some(chance)},
    lambda chance: {"without_contact_id": _some(chance)},
    lambda chance: {"without_cluster": _some(chance)},
    lambda chance: {"lost": _some(chance)},
    lambda chance: {"short_blocks": {chance.randrange(8): 192}, "block_bytes": 1024},
    lambda chance: {"holes_ms": {chance.randrange(1, 8): chance.choice((700, 5000, 60_000))}},
    lambda _: {"producer_clock": "relative"},
    lambda chance: {"server_lag_ms": chance.choice((-30_000, 30_000, 0))},
)
_JUMPS: Final[tuple[Callable[[random.Random], Changes], ...]] = (
    lambda chance: {
        "clock_jumps_ms": {chance.randrange(1, 8): chance.choice((HOUR_MS, -HOUR_MS, 5_000))}
    },
)


def _speech(chance: random.Random, seed: int, length: int | None = None) -> bytes:
    """One to eight seconds that no other seed repeats, one in five with a silence in it."""
    pcm = synthetic_pcm(chance.uniform(1, 8), seed)[:] if length is None else b""
    if length is not None:
        pcm = synthetic_pcm(length / 16_000, seed)[:length]
    if chance.random() < 0.2:
        start = chance.randrange(len(pcm)) & ~1
        stop = min(len(pcm), start + chance.randrange(16_000, 64_000))
        pcm = pcm[:start] + bytes(stop - start) + pcm[stop:]
    return pcm


def _save_attributes(call: Call, chance: random.Random) -> Call:
    """Half of the flows save FlowFunction's answer as contact attributes."""
    if chance.random() < 0.5:
        return call
    saved = {
        "streamArn": call.stream_arn,
        "startFragmentNumber": str(call.start_fragment_number),
        "startTimestamp": str(call.start_timestamp_ms),
    }
    return replace(call, attributes=saved)


def _neighbours(
    call: Call, seeds: tuple[int, ...], names: Mapping[str, Any], kinds: tuple[str, ...]
) -> tuple[Call, ...]:
    """Calls of two other contacts on the same stream, right before and right after."""
    starts = (call.start_timestamp_ms - 2600, call.stop_timestamp_ms + 100)
    sequences = (3001, next_session(4001 + len(call.fragments) + 20))
    return tuple(
        simulate_call(
            synthetic_pcm(2, seed)[:],
            synthetic_pcm(2, seed + 1_000_000_007)[:],
            contact_id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"neighbour {seed}")),
            start_ms=start_ms,
            first_sequence=sequence,
            seed=seed,
            **names,
        )
        for seed, start_ms, sequence in zip(seeds, starts, sequences, strict=True)
    )
