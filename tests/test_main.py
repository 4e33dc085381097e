import ast
import os
import sys
from pathlib import Path

import pytest

from sipagent.__main__ import main


@pytest.mark.parametrize("version", [(3, 8, 0), (3, 10, 14), (3, 13, 0), (3, 14, 1)])
def test_another_python_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], version: tuple[int, ...]
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(SystemExit) as exit:
        main(["--help"])
    assert exit.value.code == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert f"Python 3.{version[1]} cannot run it; accepted: 3.11, 3.12" in err


def test_an_older_python_can_read_the_way_in() -> None:
    source = Path(sys.modules[main.__module__].__file__ or "").read_text()
    ast.parse(source, feature_version=(3, 7))


def test_numpy_multiplies_with_one_thread_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    for told in ("1", "4"):
        with pytest.raises(SystemExit):
            main(["--version"])
        assert os.environ["OPENBLAS_NUM_THREADS"] == told
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", "4")
