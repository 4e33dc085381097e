"""What becomes of every description that comes through Kamailio: the same as where the engine stands alone.

The scenes are those of `test_pjsip_descriptions`, with a real edge between the phones and the engine. Of the
three places that a description may have in a body, here it has the first and the last.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import ip_network
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sipagent.edge.files import kept_tokens, places
from sipagent.edge.process import EdgeProcess
from tests import test_pjsip_descriptions as alone
from tests.loopback import CALLER_HZ, SCENES, Loopback, run
from tests.peers.edge import TRUNK, plan

pytestmark = pytest.mark.live


class BehindEdge(Loopback):
    """An engine that takes SIP from an edge alone, whose trunk is the caller."""

    def __init__(self, stack: ExitStack) -> None:
        self.edge = plan(workers=1, calls=2, calls_per_worker=2)
        directory = Path(stack.enter_context(TemporaryDirectory()))
        tokens = kept_tokens(places(directory))
        process = EdgeProcess(self.edge, directory, lambda _: None)
        super().__init__(
            stack,
            listen=tuple(self.edge.worker(0)),
            callers=(ip_network(TRUNK),),
            outbound_proxies=(f"sip:{self.edge.inner};lr",),
            hop_token=tokens.from_edge,
            way_out_token=tokens.to_edge,
            sip_peer=tuple(self.edge.inner),
        )
        process.start()
        stack.callback(process.stop)
        process.rpc.activate(0)
        self.caller = self.phone("+33612345678", CALLER_HZ, ip=TRUNK)

    def uri(self) -> str:
        return f"sip:0323063006@{self.edge.listen}"


def behind_edge(play: Callable[[ExitStack], None]) -> Callable[[ExitStack], None]:
    def played(stack: ExitStack) -> None:
        alone.OFFICE, alone.PLACES = BehindEdge, slice(None, None, 2)
        play(stack)

    return played


PLAYED = {
    name: play
    for (module, name), play in SCENES.items()
    if module == alone.__name__ and "another_call" in play.__code__.co_names
}
SCENES |= {(__name__, name): behind_edge(play) for name, play in PLAYED.items()}


@pytest.mark.parametrize("name", PLAYED)
def test_it_is_the_same_through_the_edge(name: str) -> None:
    run(__name__, name)
