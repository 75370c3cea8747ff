"""The packages that `sam build` makes, by the recipe that it runs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_build_touches_nothing_beside_its_own_folder(tmp_path: Path) -> None:
    # Split at its spaces, the path of the build names the first two folders.
    precious = [tmp_path / "My/precious", tmp_path / "My/Mother's/precious"]
    for file in precious:
        file.parent.mkdir(parents=True)
        file.write_text("keep")
    checkout = tmp_path / "My/Mother's Work/src"
    shutil.copytree(ROOT / "src", checkout, ignore=shutil.ignore_patterns("__pycache__"))
    artifacts = checkout.parent / ".aws-sam/build/FlowFunction"
    artifacts.mkdir(parents=True)
    subprocess.run(
        ["make", "-C", str(checkout), "build-FlowFunction", f"ARTIFACTS_DIR={artifacts}"],
        check=True,
        capture_output=True,
        env=os.environ
        | {
            # A setting of many machines, which pip refuses together with a target folder.
            "PIP_USER": "1",
            # The recipe's Python has to have pip.
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
    )
    assert all(file.read_text() == "keep" for file in precious)
    services = {folder.name for folder in (artifacts / "botocore/data").iterdir()}
    assert {name for name in services if (artifacts / "botocore/data" / name).is_dir()} == {
        "connect",
        "kinesisvideo",
        "kinesis-video-archived-media",
        "s3",
        "sqs",
    }
