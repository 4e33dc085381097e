"""Complete the bill of materials of the package: `sbom.py ENVIRONMENT HOME REPORT…` → stdout.

ENVIRONMENT is what cyclonedx-py says of the installed packages (CycloneDX JSON), HOME the folder of the
interpreter and packages, REPORT pip's of an installation; one that is not there says nothing. What is added:
the interpreter, the hash of each wheel, what wheels say that they were built with, and the libraries that the
page hands to browsers.
"""

import hashlib
import json
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Component = dict[str, Any]


def main(environment: Path, home: Path, *reports: Path) -> None:
    """Print it."""
    bill: dict[str, Any] = json.loads(environment.read_text(encoding="utf-8"))
    wheels = {
        _plain(entry["metadata"]["name"]): entry["download_info"]
        for report in reports
        if report.exists()
        for entry in json.loads(report.read_text(encoding="utf-8"))["install"]
    }
    ours = bill["metadata"]["component"]
    bill["components"] = [one for one in bill["components"] if _plain(one["name"]) != _plain(ours["name"])]
    for component in bill["components"]:
        wheel = wheels[_plain(component["name"])]
        component["hashes"] = [{"alg": "SHA-256", "content": wheel["archive_info"]["hashes"]["sha256"]}]
        _name_origin(component, wheel["url"])
        inside = sorted(_inside(home, component), key=lambda one: str(one["bom-ref"]))
        if inside:
            component["components"] = inside
    bill["components"] += _of_the_page(home)
    bill["components"].insert(0, _interpreter(home))
    _name_dependencies(bill)
    json.dump(bill, sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _name_origin(component: Component, url: str) -> None:
    """Where the wheel was downloaded from; a folder of the building machine says nothing to others."""
    kept = [one for one in component.get("externalReferences", []) if one["type"] != "distribution"]
    if url.startswith("https://"):
        kept.append({"type": "distribution", "url": url, "hashes": component["hashes"]})
    component["externalReferences"] = kept
    if not kept:
        del component["externalReferences"]


def _inside(home: Path, component: Component) -> Iterator[Component]:
    """Yield the libraries that the wheel brings, and what its own bills name."""
    ref, name, version = component["bom-ref"], component["name"], component["version"]
    for site in home.glob("lib/python3*/site-packages"):
        for folder in site.iterdir():
            if folder.suffix == ".libs" and _plain(folder.stem) == _plain(name):
                yield from (_file(home, path, ref) for path in folder.iterdir())
            if folder.suffix == ".dist-info" and _plain(folder.stem) == _plain(f"{name}-{version}"):
                yield from _own_bills(folder, ref)


def _own_bills(folder: Path, ref: str) -> Iterator[Component]:
    seen = set()
    for path in sorted(folder.glob("sboms/*.json")):
        for part in json.loads(path.read_text(encoding="utf-8")).get("components", []):
            key = part.get("purl") or f"{part['name']}@{part.get('version')}"
            if key in seen or key.startswith("pkg:pypi/"):  # the wheel itself
                continue
            seen.add(key)
            kept = {
                field: part[field]
                for field in ("type", "name", "version", "purl", "licenses")
                if field in part
            }
            yield {**kept, "bom-ref": f"{ref}#{key}"}


def _file(home: Path, path: Path, ref: str) -> Component:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    where = path.relative_to(home).as_posix()
    return {
        "type": "file",
        "bom-ref": f"{ref}#{where}",
        "name": where,
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


def _of_the_page(home: Path) -> list[Component]:
    """What comes from elsewhere among the files that browsers get: their manifest says from where."""
    found = []
    for folder in home.glob("lib/python3*/site-packages/sipagent/web/static/vendor"):
        for part in json.loads((folder / "manifest.json").read_text(encoding="utf-8")):
            purl = f"pkg:npm/{part['package']}@{part['version']}"
            found.append(
                {
                    "type": "library",
                    "bom-ref": purl,
                    "name": part["package"],
                    "version": part["version"],
                    "purl": purl,
                    "licenses": [{"license": {"id": part["license"]}}],
                    "externalReferences": [{"type": "distribution", "url": part["source"]}],
                    "components": [_file(home, folder / part["file"], purl)],
                }
            )
    return found


def _interpreter(home: Path) -> Component:
    version = platform.python_version()
    files = sorted(
        one for one in (*home.glob("bin/python3.*"), *home.glob("lib/libpython3*")) if not one.is_symlink()
    )
    return {
        "type": "application",
        "bom-ref": "interpreter",
        "name": "cpython",
        "version": version,
        "description": "The Python interpreter that the package " + ("brings" if files else "depends on"),
        "licenses": [{"license": {"id": "PSF-2.0"}}],
        "purl": f"pkg:generic/cpython@{version}",
        "cpe": f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*",
        "components": [_file(home, path, "interpreter") for path in files],
    }


def _name_dependencies(bill: dict[str, Any]) -> None:
    """Keep what is there, and say that ours needs the interpreter and what the page hands out."""
    known = {bill["metadata"]["component"]["bom-ref"], *(one["bom-ref"] for one in bill["components"])}
    for entry in bill["dependencies"]:
        entry["dependsOn"] = [ref for ref in entry.get("dependsOn", []) if ref in known]
        if entry["ref"] == bill["metadata"]["component"]["bom-ref"]:
            brought = [
                one["bom-ref"] for one in bill["components"] if one.get("purl", "").startswith("pkg:npm/")
            ]
            entry["dependsOn"] = sorted([*entry["dependsOn"], "interpreter", *brought])
    bill["dependencies"] = [one for one in bill["dependencies"] if one["ref"] in known]


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
