"""A manifest → what the page reads of it, with every type checked: text from outside."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from call_archive_cli.manifests import Manifest, ManifestError

_NUMBERS: Final = ("listed", "accepted", "foreign", "untagged")
_TEXTS: Final = ("archivedAt", "software", "trigger", "recordingUri")


@dataclass(frozen=True, slots=True)
class Hole:
    """A gap or an overlap of one track."""

    at_ms: int
    length_ms: int
    track: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a manifest says of a recording.

    Attributes:
        tracks: whose voices, in channel order.
        listed: how many fragments there were in the range.
        missing: fragments that never came.
        last: the last fragment that was accepted, if the manifest says.
    """

    manifest: Manifest
    tracks: list[str]
    gaps: list[Hole]
    overlaps: list[Hole]
    listed: int
    missing: list[int]
    last: int | None


def decode_described(manifest: Manifest) -> Described:
    """Everything of a manifest that the page shows.

    Raises:
        ManifestError: some of it is not what a manifest says.
    """
    document = manifest.document
    fragments = document.get("fragments")
    if not isinstance(fragments, dict):
        raise ManifestError("fragments is not an object")
    for name in _TEXTS:
        _require(document, name, lambda value: isinstance(value, str))
    for name in _NUMBERS:
        _require(fragments, name, _is_number)
    for name in ("tracks", "reasons"):
        _require(document, name, lambda value: _is_list_of(value, lambda one: isinstance(one, str)))
    for name in ("gaps", "overlaps"):
        _require(document, name, lambda value: _is_list_of(value, _is_hole))
    _require(fragments, "missing", lambda value: _is_list_of(value, _is_fragment_number))
    last = fragments.get("last")
    return Described(
        manifest=manifest,
        tracks=document["tracks"],
        gaps=_holes(document["gaps"]),
        overlaps=_holes(document["overlaps"]),
        listed=fragments["listed"],
        missing=sorted(map(int, fragments["missing"])),
        last=int(last) if isinstance(last, str) and _is_fragment_number(last) else None,
    )


def _require(
    values: Mapping[str, Any],
    name: str,
    is_right: Callable[[Any], bool],
) -> None:
    if not is_right(values.get(name)):
        raise ManifestError(f"{name} is not what a manifest says there")


def _is_list_of(value: object, is_right: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(is_right, value))


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_fragment_number(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 128


def _is_hole(value: object) -> bool:
    return (
        isinstance(value, dict)
        and _is_number(value.get("atMs"))
        and _is_number(value.get("lengthMs"))
        and isinstance(value.get("track"), str)
    )


def _holes(holes: list[dict[str, Any]]) -> list[Hole]:
    return [Hole(hole["atMs"], hole["lengthMs"], hole["track"]) for hole in holes]
