"""How long the call flow waits for what, in seconds."""

MEDIA_WAIT_S = 0.5  # the notice doesn't wait longer for the caller's first RTP packet
CHOICE_S = 3.0  # after "for English, press 2", for the key
SURE_S = 0.5  # a refusal that no notice promises gets this long to become sure, before it is asked about
VERDICT_S = 3.0  # speech that began in the window gets this long to be understood
LATE_S = 0.5  # speech that began before the window closed is heard at the latest this much after it
RETRY_S = 3.0  # between two rounds over the operators
REACH_S = 4.0  # a phone for which nothing answers within this is unreachable (RFC 3261's timer B is 32 s)
SOUND_S = 3.0  # an operator who has answered and sends no sound within this has vanished
MOST_DETAILS = 2  # how often the details of the notice are told in one call
PLEASE_HOLD_S = 20.0  # between two "please hold"
LISTENING_S = 1.0  # at the end: for what the caller had still sent to be listened to
RETRY_AFTER_S = 10  # in the 503 to a caller for whom there is no room (RFC 3261 section 20.33)
HASTE_S = 1.0  # a phone that is gone so soon after a transfer that was busy did not wait to hear of it
ROOM_S = 2.0  # for a leg that was given up to be gone, where a transfer needs its place
REFER_ANSWER_S = 20.0  # for our REFER to be answered; pjsip ends the call where it is not in 32
