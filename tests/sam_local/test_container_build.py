"""`sam build --use-container`: the recipe in SAM's build image makes the same package.

If SAM's own image is here, it is used. If not, a stand-in is made of the functions' base image with
what SAM's Dockerfile (github.com/aws/aws-sam-build-images, `Dockerfile-python313`) adds and the
recipe needs: make, and lambda-builders, which runs the recipe.
"""

import shutil
import ssl
import subprocess
from pathlib import Path

import aws_lambda_builders  # type: ignore[import-untyped]  # ships no types
import pytest

from local.bundle import REQUIREMENTS, read_bundle, read_pins
from tests.sam_local.conftest import ROOT, SKIP_PULL, run

BUILD_IMAGE = "public.ecr.aws/sam/build-python3.13:latest-x86_64"
STAND_IN = "call-archive-test-build-python3.13"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
DOCKERFILE = f"""\
FROM public.ecr.aws/lambda/python:3.13-x86_64
COPY make /usr/bin/
COPY aws_lambda_builders /usr/local/opt/lambda-builders/aws_lambda_builders
COPY lambda-builders /usr/local/bin/
COPY certificates {CERTIFICATES}
"""
LAMBDA_BUILDERS = """\
#!/bin/sh
PYTHONPATH=/usr/local/opt/lambda-builders exec /var/lang/bin/python3.13 -m aws_lambda_builders "$@"
"""


@pytest.fixture(scope="session")
def image_options(bridge_gateway: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of `sam build` for the image that is here."""
    found = subprocess.run(
        ["docker", "image", "inspect", BUILD_IMAGE], capture_output=True, check=False, timeout=30
    )
    if found.returncode == 0:
        return []
    context = tmp_path_factory.mktemp("build-image")
    make, certificates = shutil.which("make"), ssl.get_default_verify_paths().cafile
    assert make
    assert certificates
    shutil.copy(make, context / "make")
    shutil.copy(certificates, context / "certificates")
    (source,) = aws_lambda_builders.__path__
    shutil.copytree(
        source, context / "aws_lambda_builders", ignore=shutil.ignore_patterns("__pycache__")
    )
    (context / "lambda-builders").write_text(LAMBDA_BUILDERS)
    (context / "lambda-builders").chmod(0o755)
    (context / "Dockerfile").write_text(DOCKERFILE)
    run("docker", "build", "--quiet", "--tag", STAND_IN, ".", cwd=context)
    # As the documents say it for a network with its own certificates.
    return ["--build-image", STAND_IN, "--container-env-var", f"PIP_CERT={CERTIFICATES}"]


def test_a_container_makes_the_same_package(
    project: Path, image_options: list[str], tmp_path: Path
) -> None:
    checkout = tmp_path / 'It\'s "my" [Wörk] & `id` (1)'
    checkout.mkdir()
    for name in ("template.yaml", "samconfig.toml"):
        shutil.copy(ROOT / name, checkout)
    shutil.copytree(ROOT / "src", checkout / "src", ignore=shutil.ignore_patterns("__pycache__"))
    run("sam", "build", "FlowFunction", "--use-container", SKIP_PULL, *image_options, cwd=checkout)
    pins = read_pins(REQUIREMENTS.read_text())
    in_container = read_bundle(checkout / ".aws-sam/build/FlowFunction", pins)
    assert in_container.problems == []
    here = read_bundle(project / ".aws-sam/build/FlowFunction", pins)
    assert in_container.digest == here.digest
