"""Call the service: `call.py ADDRESS [SECONDS]`. Who does not refuse is put through, and hangs up.

Exit 0 only if both have heard each other, and the operator's phone has shown that it is recorded.
"""

import sys

from sipagent.softphone.phone import Answering, Loop, Phone
from sipagent.softphone.rtp import SteadyTone

CALLER, CALLER_IP, CALLER_HZ = "+33612345678", "192.0.2.20", 440.0
OPERATOR, OPERATOR_IP, OPERATOR_PORT, OPERATOR_HZ = "201", "192.0.2.30", 5070, 880.0
TALK_S = 4.0


def main(address: str, talk_s: float = TALK_S) -> None:
    """Have the call."""
    with (
        Loop() as loop,
        Phone(loop, OPERATOR, OPERATOR_IP, OPERATOR_PORT) as operator,
        Phone(loop, CALLER, CALLER_IP) as caller,
    ):
        operator.sound = lambda: SteadyTone(OPERATOR_HZ)
        operator.answer = Answering(after_s=0.5)
        call = caller.call(f"sip:+33323063006@{address}")
        call.wait_answered()
        print("answered; the notice plays", flush=True)
        answered = operator.wait_call(90)
        shown = (answered.incoming.header("From") if answered.incoming else "").partition("<")[0].strip(' "')
        print(f"the operator's phone shows {shown}", flush=True)
        if not shown.startswith("REC "):
            sys.exit(f"call.py: it must show REC, not {shown!r}")
        call.rtp.wait_tone(OPERATOR_HZ, 30)
        call.rtp.play(SteadyTone(CALLER_HZ))  # not before: it would be listened to as speech
        answered.rtp.wait_tone(CALLER_HZ, 30)
        print("they talk", flush=True)
        frames = call.rtp.sent_frames + round(talk_s / 0.02)
        loop.wait_for(lambda: call.rtp.sent_frames >= frames, talk_s + 10, f"{talk_s:g} s of talk")
        call.rtp.wait_tone(OPERATOR_HZ, 1)
        call.hang_up()
        answered.wait_ended()
        print("both heard each other", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(float, sys.argv[2:]))
