"""Session descriptions: what phones offer, and more than an engine carries."""

from sipagent.sip.session_description import AUDIO_LINES, LINES

HEAD = "v=0\r\no=- 1 1 IN IP4 127.0.0.2\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\n"
AUDIO = "m=audio 40000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
CLOSED = "m=audio 0 RTP/AVP 8\r\n"
VIDEO = "m=video 40002 RTP/AVP 31\r\n"
TOO_MUCH_AUDIO = HEAD + AUDIO * (AUDIO_LINES + 1)
TOO_MANY = HEAD + AUDIO + VIDEO * LINES


def multipart(*parts: str) -> str:
    """As SIPREC and SIP-I send it."""
    mixed = "".join(f"--part\r\nContent-Type: application/sdp\r\n\r\n{part}\r\n" for part in parts)
    return f"{mixed}--part\r\nContent-Type: application/rs-metadata+xml\r\n\r\n<recording/>\r\n--part--\r\n"
