"""What WebAuthn calls the relying party: this page, to which passkeys belong by the name in its address.

What comes from a browser is checked by py_webauthn. It is imported when the first passkey comes: it is large.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from retention.accounts.accounts import NewPasskey, Passkey
from retention.records import Json, RuleError
from sipagent.languages.labels import N_
from sipagent.web.sessions import CHALLENGE_GOOD_FOR_S

ALGORITHMS = (-8, -7, -257)  # EdDSA, ES256, RS256 (COSE)
LONGEST = 16_384  # characters of what a browser sends
LONGEST_ID = 1023  # bytes (WebAuthn level 2, section 4)

_NOT_RIGHT = N_("what the authenticator has sent is not right; accepted: once more")
_UNVERIFIED = N_("the authenticator has not asked who you are; accepted: one with a PIN, a finger or a face")


class PasskeyError(RuleError):
    """The browser's answer is refused; `kept`: the line in the trace."""

    def __init__(self, said: str = _NOT_RIGHT, kept: str = "not right") -> None:
        super().__init__(said)
        self.kept = kept


@dataclass(frozen=True, slots=True)
class Shown:
    """A passkey that has signed, nothing of it checked yet. `challenge`: in base64url."""

    credential: bytes
    handle: bytes | None
    challenge: str
    parsed: Any


def host_of(origin: str) -> str | None:
    """The name that passkeys would belong to; None for an address: those belong to nobody (WebAuthn level 2,
    section 5.1.2)."""
    host = urlsplit(origin).hostname or ""
    try:
        ip_address(host)
    except ValueError:
        return host or None
    return None


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """`id`: the name in the page's address; `name`: that of the service, which authenticators show."""

    id: str
    name: str
    origin: str

    # --- what the browser is asked for ---

    def to_register(self, challenge: str, user: tuple[bytes, str], there: Sequence[Passkey]) -> Json:
        """PublicKeyCredentialCreationOptionsJSON. `user`: handle and name; `there`: what it has already."""
        handle, name = user
        return {
            "rp": {"id": self.id, "name": self.name},
            "user": {"id": _text(handle), "name": name, "displayName": name},
            "challenge": challenge,
            "pubKeyCredParams": [{"type": "public-key", "alg": one} for one in ALGORITHMS],
            "timeout": CHALLENGE_GOOD_FOR_S * 1000,
            "excludeCredentials": [
                {"type": "public-key", "id": _text(one.credential), "transports": list(one.transports)}
                for one in there
            ],
            "authenticatorSelection": {
                "residentKey": "required",
                "requireResidentKey": True,
                "userVerification": "required",
            },
            "attestation": "none",
        }

    def to_log_in(self, challenge: str) -> Json:
        """PublicKeyCredentialRequestOptionsJSON; whose passkey it is the authenticator says."""
        return {
            "challenge": challenge,
            "rpId": self.id,
            "timeout": CHALLENGE_GOOD_FOR_S * 1000,
            "allowCredentials": [],
            "userVerification": "required",
        }

    # --- what it sends ---

    def challenge_of_new(self, sent: str) -> str:
        """The challenge that a new passkey says it answers. Raises PasskeyError."""
        from webauthn.helpers import parse_registration_credential_json

        with _Checking():
            return _challenge_in(parse_registration_credential_json(_short(sent)))

    def registered(self, sent: str, challenge: str) -> NewPasskey:
        """A new passkey that answers this challenge; the person was verified. Raises PasskeyError."""
        from webauthn import verify_registration_response
        from webauthn.helpers import (
            decode_credential_public_key,
            decoded_public_key_to_cryptography,
            parse_attestation_object,
            parse_registration_credential_json,
        )
        from webauthn.helpers.cose import COSEAlgorithmIdentifier
        from webauthn.helpers.structs import AttestationFormat

        with _Checking():
            parsed = parse_registration_credential_json(_short(sent))
            attested = parse_attestation_object(parsed.response.attestation_object)
            if (
                attested.fmt not in (AttestationFormat.NONE, AttestationFormat.PACKED)
                or attested.att_stmt.x5c
            ):
                raise PasskeyError(kept="a word of its maker, which nobody asked for")
            if not attested.auth_data.flags.uv:
                raise PasskeyError(_UNVERIFIED, "the person was not verified")
            made = verify_registration_response(
                credential=parsed,
                expected_challenge=_bytes(challenge),
                expected_rp_id=self.id,
                expected_origin=self.origin,
                require_user_verification=True,
                supported_pub_key_algs=[COSEAlgorithmIdentifier(one) for one in ALGORITHMS],
            )
            if made.credential_id != parsed.raw_id or len(made.credential_id) > LONGEST_ID:
                raise PasskeyError
            decoded_public_key_to_cryptography(decode_credential_public_key(made.credential_public_key))
            transports = tuple(one.value for one in parsed.response.transports or ())
            return NewPasskey(
                credential=made.credential_id,
                public_key=made.credential_public_key,
                sign_count=made.sign_count,
                transports=transports,
            )

    def shown(self, sent: str) -> Shown:
        """Which passkey has signed, by its own word. Raises PasskeyError."""
        from webauthn.helpers import parse_authentication_credential_json

        with _Checking():
            parsed = parse_authentication_credential_json(_short(sent))
            return Shown(parsed.raw_id, parsed.response.user_handle, _challenge_in(parsed), parsed)

    def sign_count(self, shown: Shown, passkey: Passkey) -> int:
        """The counter of a passkey that has signed its challenge, for this page, and has verified the person.

        Whether it went forward is for who keeps it. Raises PasskeyError.
        """
        from webauthn import verify_authentication_response
        from webauthn.helpers import parse_authenticator_data

        with _Checking():
            if not parse_authenticator_data(shown.parsed.response.authenticator_data).flags.uv:
                raise PasskeyError(_UNVERIFIED, "the person was not verified")
            return verify_authentication_response(
                credential=shown.parsed,
                expected_challenge=_bytes(shown.challenge),
                expected_rp_id=self.id,
                expected_origin=self.origin,
                credential_public_key=passkey.public_key,
                credential_current_sign_count=0,
                require_user_verification=True,
            ).new_sign_count


class _Checking:
    """While something of a stranger's making is read: whatever is wrong with it is a PasskeyError."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        from cryptography.exceptions import UnsupportedAlgorithm
        from webauthn.helpers.exceptions import WebAuthnException

        wrong = (WebAuthnException, UnsupportedAlgorithm, ArithmeticError, AttributeError, LookupError)
        if isinstance(error, (*wrong, RecursionError, TypeError, ValueError)):
            raise PasskeyError from error


def _short(sent: str) -> str:
    if len(sent) > LONGEST:
        raise PasskeyError(kept="too long")
    return sent


def _challenge_in(parsed: Any) -> str:
    """The challenge of an answer, in base64url. Raises PasskeyError for an answer from within the page of
    another site."""
    from webauthn.helpers import parse_client_data_json

    said = parse_client_data_json(parsed.response.client_data_json)
    if said.cross_origin:
        raise PasskeyError(kept="from the page of another site")
    return _text(said.challenge)


def _text(content: bytes) -> str:
    """In base64url, without padding."""
    return urlsafe_b64encode(content).decode("ascii").rstrip("=")


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
