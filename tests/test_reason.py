from sipagent.languages.choice import speaking
from sipagent.languages.spoken import Reason, shown


def test_what_is_kept_is_english_and_what_is_shown_is_not() -> None:
    inner = Reason("No such command {name!r}.", name="lost")
    reason = Reason("Error: {message}", message=inner)
    with speaking("fr"):
        assert f"{reason}" == str(ValueError(reason)) == "Error: No such command 'lost'."
        assert shown(reason) == shown(ValueError(reason)) == "Erreur\u00a0: Pas de commande 'lost'."
    with speaking("en"):
        assert shown(reason) == reason


def test_what_is_no_reason_is_a_message_of_the_code_or_stays_as_it_is() -> None:
    with speaking("fr"):
        assert shown("a text") == shown(ValueError("a text")) == "a text"
        assert shown(OSError(2, "No such file")) == str(OSError(2, "No such file"))
        assert shown(ValueError("is not a period")) == "n’est pas une durée"
        assert shown(Reason("Error: {message}", message="is empty")) == "Erreur\u00a0: est vide"
