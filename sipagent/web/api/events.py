"""The calls of the moment, as they change."""

from http import HTTPStatus

from sipagent.web.api.document.operation import VERSION, Answer, Operation
from sipagent.web.pages.now import events

ENTRIES = (
    Operation(
        f"GET {VERSION}/events",
        events,
        summary="The calls of the moment, and each change of them",
        answers={
            HTTPStatus.OK: Answer(
                said="Server-sent events: `now` with all calls and operators, at last `ended`.",
                media="text/event-stream",
            )
        },
    ),
)
