"""sipagent as users install it, each time in a virtual environment of its own; and folders that mean harm."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tests.loopback import ROOT

LEFT_OUT = ("tests/", "typings/", ".ci/")
OURS = {"sipagent", "media", "retention", "prompts"}
INSTALL_S = 120
PATIENCE_S = 60.0  # for one command


@dataclass(frozen=True)
class Installed:
    """`python`: of the environment; `program`: the console script; `packages`: where ours are read from."""

    python: Path
    program: Path
    packages: Path


def installed(folder: Path, *, editable: bool, beside: Iterable[str] | None = None) -> Installed:
    """Install a copy of the project. `beside`: the distributions that the environment has, taken from the
    running interpreter's; None: all of those.
    """
    copy = folder / "project"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if not name.startswith(LEFT_OUT) and (source := ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes(source.read_bytes())
    environment = folder / "venv"
    venv.create(environment, with_pip=False)
    (packages,) = environment.glob("lib/python3.*/site-packages")
    python = environment / "bin" / "python"
    if beside is None:
        others = [entry for entry in sys.path if Path(entry).name == "site-packages"]
        (packages / "others.pth").write_text("\n".join(others) + "\n", encoding="utf-8")
        pip = [str(python), "-P", "-m", "pip"]
    else:
        _take(beside, packages)
        pip = [sys.executable, "-P", "-m", "pip", "--python", str(python)]
        # what builds it is not for the environment that it is installed into
        subprocess.run(
            [sys.executable, "-P", "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps",
             "--no-build-isolation", "--wheel-dir", str(folder), str(copy)],
            cwd="/", check=True, timeout=INSTALL_S,
        )  # fmt: skip
        (copy,) = folder.glob("sipagent-*.whl")
    wanted = ["--editable", str(copy)] if editable else [str(copy)]
    subprocess.run(
        [*pip, "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed",
         *wanted],
        cwd="/", check=True, timeout=INSTALL_S,
    )  # fmt: skip
    return Installed(python, environment / "bin" / "sipagent", copy if editable else packages)


def _take(names: Iterable[str], packages: Path) -> None:
    """Have a site-packages show distributions of the running interpreter, and nothing else of it."""
    for name in names:
        distribution = metadata.distribution(name)
        tops = {file.parts[0] for file in distribution.files or [] if file.parts[0] != ".."}
        for top in tops - {"__pycache__"}:
            (packages / top).symlink_to(Path(str(distribution.locate_file(top))))


def said(
    *words: str | Path, folder: Path, environment: Mapping[str, str], code: int = 0, stdin: str = ""
) -> str:
    """Run a command in a folder, which ends with this code; what it says."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def hostile(folder: Path) -> Path:
    """Fill a folder with modules of every name that might be imported; the file in which they tell of it."""
    folder.mkdir(parents=True, exist_ok=True)
    told = folder.parent / f"{folder.name}.imported"
    loaded = {name.partition(".")[0] for name in sys.modules}
    for name in {*sys.stdlib_module_names, *loaded, *OURS, "sitecustomize", "usercustomize"} - {"__main__"}:
        module = folder / name / "__init__.py" if name in OURS else folder / f"{name}.py"
        module.parent.mkdir(exist_ok=True)
        module.write_text(f"open({str(told)!r}, 'a').write(__name__ + '\\n')\n", encoding="utf-8")
    return told


def said_in(told: Path) -> list[str]:
    """What was imported, nothing if all is well."""
    return told.read_text(encoding="utf-8").split() if told.exists() else []
