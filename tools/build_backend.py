"""Hatchling, behind a look at the Python that builds.

An older pip does not look at requires-python of a directory before it has tried every version of
every dependency, for minutes; a build backend is the first thing that it asks. The syntax here is
that of the oldest Python which pip may call it with.
"""

import sys

if sys.version_info < (3, 12):
    sys.exit(
        "call-archive needs Python 3.12 or newer, and this is %d.%d: install it with another "
        "Python, or with `uv tool install`, which brings one" % sys.version_info[:2]
    )

from hatchling.build import *  # noqa: F403 - the backend's own functions
