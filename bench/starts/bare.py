"""`bare.py [SERVICE…]`: `import boto3` and a client of each service, and nothing else."""

import os
import sys

import boto3


def main() -> None:
    """One cold start of a function that does nothing yet."""
    for service in sys.argv[1:]:
        boto3.client(service)  # type: ignore[call-overload] # a literal in the stubs
    os._exit(0)


if __name__ == "__main__":
    main()
