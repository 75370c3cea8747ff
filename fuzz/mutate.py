"""Mutators that know EBML and JSON: parts are moved, repeated, dropped, and lied about.

Sizes of EBML parents are recalculated, so that a change deep inside leaves a document that is
read to its end; now and then one size is wrong, which is the point.
"""

import copy
import json
import random
from dataclasses import dataclass, field
from typing import Any

from local.encoder import encode_size

_MASTERS = "1A45DFA3 18538067 1549A966 1654AE6B AE 1254C367 7373 67C8 1F43B675 A0 E1"
MASTERS = frozenset(map(bytes.fromhex, _MASTERS.split()))
_INTERESTING = [
    b"",
    b"\0",
    b"\1",
    b"\xff" * 8,
    b"\x7f" + b"\xff" * 7,
    b"\x80" + bytes(7),
    bytes(9),
    b"AUDIO_FROM_CUSTOMER",
    b"AUDIO_TO_CUSTOMER",
    b"ContactId",
    b"c-1",
    b"c-2",
]


@dataclass(slots=True)
class Node:
    """An element, or bytes that are none (an empty id)."""

    id: bytes
    content: bytes = b""
    children: list["Node"] = field(default_factory=list)
    has_unknown_size: bool = False
    size_width: int = 0
    lie: int = 0

    def encode(self) -> bytes:
        """The encoded element; its size is right unless it is meant to be wrong."""
        content = self.content + b"".join(child.encode() for child in self.children)
        if not self.id:
            return content
        return self.id + self._encode_size(max(0, len(content) + self.lie)) + content

    def _encode_size(self, size: int) -> bytes:
        """As wide as before, if that is wide enough."""
        width = self.size_width
        if self.has_unknown_size:
            return ((2 << 7 * (width or 8)) - 1).to_bytes(width or 8)
        return encode_size(size, width if size < (1 << 7 * width) - 1 else 0)


def parse(source: bytes, depth: int = 0) -> list[Node]:
    """The elements in the bytes; what is none becomes one node of bytes."""
    nodes: list[Node] = []
    position = 0
    while position < len(source):
        head = _head(source, position)
        if head is None or depth > 8:
            nodes.append(Node(b"", source[position:]))
            break
        element_id, body, end = head
        width = body - position - len(element_id)
        is_unknown = end is None
        # A document of unknown size ends where the next begins; its children end nowhere earlier.
        until = len(source) if end is None else min(end, len(source))
        if is_unknown and element_id == b"\x18\x53\x80\x67":
            found = source.find(b"\x1a\x45\xdf\xa3", body)
            until = found if found >= 0 else until
        content = source[body:until]
        if element_id in MASTERS:
            nodes.append(Node(element_id, b"", parse(content, depth + 1), is_unknown, width))
        else:
            nodes.append(Node(element_id, content, [], is_unknown, width))
        position = until
    return nodes


def _head(source: bytes, position: int) -> tuple[bytes, int, int | None] | None:
    id_length = 9 - source[position].bit_length()
    place = position + id_length
    if id_length > 4 or place >= len(source) or not source[place]:
        return None
    size_length = 9 - source[place].bit_length()
    body = place + size_length
    mask = (1 << 7 * size_length) - 1
    size = int.from_bytes(source[place:body]) & mask
    return source[position:place], body, None if size == mask else body + size


def mutate(body: bytes, generator: random.Random) -> bytes:
    """The body with one to three changes to its elements."""
    top = Node(b"", b"", parse(body))
    for _ in range(generator.randint(1, 3)):
        siblings = generator.choice(_families(top))
        if siblings:
            _change(siblings, generator.randrange(len(siblings)), generator)
    return top.encode()


def _families(top: Node) -> list[list[Node]]:
    families, waiting = [top.children], [*top.children]
    while waiting:
        node = waiting.pop()
        if node.children:
            families.append(node.children)
            waiting += node.children
    return families


def _change(siblings: list[Node], at: int, generator: random.Random) -> None:
    node = siblings[at]
    match generator.randrange(8):
        case 0:
            del siblings[at]
        case 1:
            siblings[at:at] = [node] * generator.choice([1, 1, 2, 16])
        case 2:
            siblings.insert(generator.randrange(len(siblings)), siblings.pop(at))
        case 3:
            node.content = generator.choice(_INTERESTING)
        case 4:
            node.lie = generator.choice([-1, 1, -len(node.content), 1 << 32, 1 << 55])
        case 5:
            node.has_unknown_size = not node.has_unknown_size
        case 6:
            siblings[at] = Node(generator.choice(sorted(MASTERS)), b"", [node])
        case _:
            place = generator.randrange(len(node.content) + 1)
            extra = generator.randbytes(generator.randint(1, 4))
            node.content = node.content[:place] + extra + node.content[place + len(extra) :]


_ODD_VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1 << 64,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "c-1",
    "../c-1",
    "c-1\n",
    "\ud800",
    "\0",
    "100",
    "9" * 128,
    "9" * 129,
    "1767258000000",
    1_767_258_060_000,
    "2026-01-01T09:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999-14:00",
    "KINESIS_VIDEO_STREAM",
    "DISCONNECTED",
    "now",
    [],
    {},
    [[[]]],
]


def mutate_json(text: bytes, generator: random.Random) -> bytes:
    """The value with one to three changes to its parts; bytes that are not JSON as they are."""
    try:
        top = [json.loads(text)]
    except (ValueError, RecursionError):
        return text
    for _ in range(generator.randint(1, 3)):
        _change_value(generator.choice(_containers(top)), generator)
    return json.dumps(top[0] if top else None).encode()


def _containers(top: list[Any]) -> list[Any]:
    """Every list and object, also in each other; the outermost list holds the value itself."""
    found: list[Any] = [top]
    for container in found:
        children = container.values() if isinstance(container, dict) else container
        found += [child for child in children if isinstance(child, dict | list)]
        if len(found) > 1_000:
            break
    return [container for container in found if container]


def _change_value(
    container: Any,  # noqa: ANN401 - a list or an object of JSON
    generator: random.Random,
) -> None:
    keys = [*container] if isinstance(container, dict) else [*range(len(container))]
    if not keys:
        return
    key, other = generator.choice(keys), generator.choice(keys)
    value = container[key]
    match generator.randrange(6):
        case 0:
            container[key] = copy.deepcopy(generator.choice(_ODD_VALUES))
        case 1:
            container[key], container[other] = container[other], value
        case 2 if isinstance(container, dict):
            del container[key]
        case 3 if isinstance(value, list):
            container[key] = value * generator.choice([2, 3, 100])
        case 4 if isinstance(value, str) and value:
            place = generator.randrange(len(value))
            container[key] = value[:place] + generator.choice("0a-_/.:\0é") + value[place + 1 :]
        case 5 if isinstance(value, int):
            container[key] = value + generator.choice([-1, 1, -90_000_000, 90_000_001])
        case _:
            container[key] = copy.deepcopy(generator.choice(_ODD_VALUES))
