"""The way in. Says so before anything else is imported when this Python is not the right one."""

import os
import sys

SUPPORTED = ((3, 11), (3, 12), (3, 13))  # 3.13: with an engine of one's own
OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # the folder that our packages lie in


def main(arguments: "list[str] | None" = None) -> None:
    """Run the command line and exit. Older Pythons must be able to read this file.

    Without `arguments` it is that of this process, which is ours alone then.
    """
    if arguments is None:
        leave_current_folder()
    if sys.version_info[:2] not in SUPPORTED:
        from sipagent.languages.choice import of_arguments, of_environment, speaking

        with speaking(of_arguments(sys.argv[1:]) or of_environment(os.environ)):
            _refuse_this_python()
    # The detector multiplies small matrices: numpy's threads would cost three times the CPU and save nothing.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from sipagent.cli.main import cli

    cli.main(arguments)


def _refuse_this_python() -> None:
    """Exit."""
    from gettext import gettext as _

    said = _(
        "Python {version} cannot run it; accepted: 3.11, 3.12, 3.13 (the SIP engine is built for no other)"
    ).format(version="{}.{}".format(*sys.version_info[:2]))
    sys.stderr.write("sipagent: " + said + "\n")
    sys.exit(2)


def leave_current_folder() -> None:
    """Import nothing from the current folder, here or in any process that is started from here.

    Whoever may write there would else run code as our user: `python -m`, the `-c` of what multiprocessing
    starts and an entry of PYTHONPATH that is empty or relative all put it before what is installed. Where our
    own packages lie in it, it stays, by its name.
    """
    here = _absolute("")
    if not getattr(sys.flags, "safe_path", False) and sys.path[0] in ("", here):
        sys.path[:1] = [OWN] if here == OWN else []
    entries = os.environ["PYTHONPATH"].split(os.pathsep) if os.environ.get("PYTHONPATH") else []
    for entry in entries:
        if not os.path.isabs(entry) and _absolute(entry) != OWN and _absolute(entry) in sys.path:
            sys.path.remove(_absolute(entry))
    kept = [entry for entry in entries if os.path.isabs(entry)]
    if here == OWN and OWN in sys.path and OWN not in kept:
        kept.insert(0, OWN)
    os.environ["PYTHONPATH"] = os.pathsep.join(kept)  # empty is as none
    os.environ["PYTHONSAFEPATH"] = "1"


def _absolute(entry: str) -> str:
    """Of an entry of a search path, where the empty one is the current folder."""
    try:
        return os.path.abspath(entry)
    except FileNotFoundError:  # the current folder has been removed, so nothing can lie in it
        return ""


if __name__ == "__main__":
    main()
