"""The type check finds what fails only when it runs: dataclasses.replace() of a msgspec Struct."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAD = """import dataclasses
from dataclasses import dataclass, replace
import msgspec
class Point(msgspec.Struct):
    x: int
class Deep(Point):
    y: int = 0
@dataclass
class Plain:
    x: int
"""


def test_replace_of_a_struct_is_a_type_error(tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api", reason="mypy is not installed")
    calls = ["msgspec.structs.replace(Deep(1), x=2)", "replace(Plain(1), x=2)", "replace(Point(1), x=2)",
             "dataclasses.replace(Deep(1), x=2)", "[replace(each, x=2) for each in (Point(1), Plain(1))]"]
    module = tmp_path / "module.py"
    module.write_text(HEAD + "\n".join(calls) + "\n")
    found, trouble, _ = api.run(["--config-file", str(ROOT / "pyproject.toml"), "--no-incremental", str(module)])
    first = HEAD.count("\n") + 1
    lines = [int(line.split(":")[1]) for line in found.splitlines() if "of the Struct" in line]
    assert not trouble
    assert lines == [first + 2, first + 3, first + 4], found
