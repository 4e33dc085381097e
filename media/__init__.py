"""What is heard, and what is recorded of it: keys, speech, the tap. It knows sound, but no calls."""


class MediaError(Exception):
    """A fault of sound or of hearing: a message, and the values that stand in it, which a face translates.

    `args`: the message, with `{0}` for the first value, and the values; one may be such an error itself.

    str() is one line in English.
    """

    is_message = True  # for `retention.texts.reason_of`

    def __str__(self) -> str:
        message, *values = self.args or ("",)
        return str(message.format(*values) if values else message)
