"""The fixtures of the whole journey."""

from tests.integration.conftest import (
    archive_functions,
    flow_function,
    impatient,
    mono,
    patient,
    shared_aws,
    stereo,
)

__all__ = [
    "archive_functions",
    "flow_function",
    "impatient",
    "mono",
    "patient",
    "shared_aws",
    "stereo",
]
