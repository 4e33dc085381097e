"""pjsip: the only part of the program that touches pjsua2.

`engine.PjsipEngine` takes orders, `legs` turns the library's callbacks into reports, `library` holds the
settings of the library, and calls it past pjsua2. From the leaf up: `library`; `accounts`, with the values
that all native objects need; `names`; `ears`; `legs`; their keepers `sound`, `media_sources`,
`request_filter`, `screening`; `engine`, which holds it all. A lower module reports to the engine by a
protocol that stands beside it.

One thread, the SIP thread, calls in: whoever called `start` calls everything else too. Callbacks come on that
thread from `poll`, and on two of the library's own: keys on the media's thread, the end of a sound on the
event worker. They enqueue a report and return. The bridge's clock calls nothing of ours: a thread of ours,
`ears`, takes the sound.

The life of a native object is protocol: `~Call` hangs up, `~Account` unregisters, and a late garbage
collection hits whoever has got the same number since (pjproject issue 3856). So the engine holds every one
of them until it may go, and it goes on the SIP thread.
"""

from sipagent.pjsip.engine import EngineError, PjsipEngine

__all__ = ["EngineError", "PjsipEngine"]
