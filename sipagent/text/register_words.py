"""The register's entry in words, French or English: a `RegisterEntry` in, lines of Markdown out. Pure.

It is between two comments, by which it is found again in a longer register; the text around them is not
ours. Every statement is one line, so that a different line shows which statement differs. To add a
language, write its RegisterWords: a test tells what is missing.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any

from sipagent.config.hours import DAYS
from sipagent.languages.typography import WIDE, set_french
from sipagent.text.register import RegisterEntry, Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterWords:
    """The words of one language.

    A sentence is found by `Statement.name`, and by `name/how` where the statement has several; those of the
    notices by `information.notices`. It is one line of Markdown. Its braces are filled from the statement's
    value, as `markdown` writes it: `{period:period}`, `{}` for the value itself; `{todo}` is `to_complete`
    with its key. `setting` gives each line the spaces that the language has between words and signs.
    """

    introduction: str
    to_complete: str
    names: Mapping[str, str]  # of purposes and grounds; one without a name is written as it is
    languages: Mapping[str, str]  # by their tags
    setting: Callable[[str], str]
    headings: Mapping[str, str]  # by section; a section without a title continues the one before
    sentences: Mapping[str, str]
    by_hand: tuple[str, ...]  # what no configuration knows


def sentence(statement: Statement, words: RegisterWords) -> str:
    """The sentence of a statement, its braces unfilled except `{todo}`."""
    name = "information.notices" if statement.name.startswith("information.notices.") else statement.name
    found = words.sentences["/".join(filter(None, (name, statement.how)))]
    return found.replace("{todo}", f"{words.to_complete} (`{statement.keys[-1]}`)" if statement.keys else "")


ENGLISH = RegisterWords(
    introduction=(
        "Entry for the register of processing activities (GDPR, article 30), made from the live "
        "configuration."
    ),
    to_complete="**to be completed**",
    names={},
    languages={"fr": "French", "en": "English", "de": "German", "es": "Spanish"},
    setting=str,
    headings={
        "controller": "Controller (article 30(1)(a))",
        "legal_basis": "Legal basis (article 6(1))",
        "purposes": "Purposes (article 30(1)(b))",
        "persons": "Data subjects (article 30(1)(c))",
        "data": "Personal data (article 30(1)(c))",
        "recipients": "Recipients (article 30(1)(d))",
        "transfers": "Transfers (article 30(1)(e))",
        "retention": "Time limits (article 30(1)(f))",
        "information": "Information of callers (article 13)",
        "rights": "Choice and rights of callers (articles 7, 15, 17, 21)",
        "security": "Security measures in place (article 30(1)(g))",
        "security/off": "What the configuration does not put in place, or does not guarantee",
        "by_hand": "To be added by hand",
    },
    sentences={
        "processing.name": "# Call recording: {}",
        "processing.lines": "**Lines**: {:code}",
        "processing.lines/any": "**Lines**: any number that reaches the agent",
        "processing.extent/off": (
            "**Extent**: no call is recorded; what was recorded before is kept until its date"
        ),
        "processing.extent/all": (
            "**Extent**: all calls, where the caller’s choice allows it; justification: {todo}"
        ),
        "processing.extent/all_justified": (
            "**Extent**: all calls, where the caller’s choice allows it; justification: {justification}"
        ),
        "processing.extent/share": (
            "**Extent**: {share:share} of the calls, drawn before the notice, where the caller’s choice "
            "allows it"
        ),
        "processing.extent/share_justified": (
            "**Extent**: {share:share} of the calls, drawn before the notice, where the caller’s choice "
            "allows it; justification: {justification}"
        ),
        "processing.extent/windows": (
            "**Extent**: {windows:windows}; at other times {share:share}; drawn before the notice, where the "
            "caller’s choice allows it"
        ),
        "processing.extent/windows_justified": (
            "**Extent**: {windows:windows}; at other times {share:share}; drawn before the notice, where the "
            "caller’s choice allows it; justification: {justification}"
        ),
        "controller.name": "**Controller**: {}",
        "controller.contact": "**Contact**: {}",
        "controller.contact/missing": "**Contact**: {todo}",
        "controller.contact/example": "**Contact**: {} is an example, {todo}",
        "dpo.contact": "**Data protection officer**: {}",
        "dpo.contact/missing": "**Data protection officer**: {todo}",
        "dpo.contact/example": "**Data protection officer**: {} is an example, {todo}",
        "legal_basis": "{}",
        "legal_basis/missing": "{todo}",
        "legal_basis/example": "{} is an example, {todo}",
        "purposes.uses": (
            "**Listening and copying**, for these purposes only: {:named}; and for a person’s own request of "
            "access"
        ),
        "purposes.testimony": (
            "**Testimony**: a recording may be held as evidence, and then listened to, on these grounds "
            "only: {:named}"
        ),
        "purposes.testimony/none": "**Testimony**: no ground is admitted",
        "purposes.lent_voices": (
            "**Training of the detection of spoken refusals**, and nothing else: the voices of colleagues"
            " who call {extension:code} and consent; never those of callers"
        ),
        "persons.categories": (
            "Callers; operators who answer them; persons who listen to, copy, hold or erase a recording"
        ),
        "persons.categories/page": (
            "Callers; operators who answer them; persons who listen to, copy, hold or erase a recording; "
            "persons who have an account of the page"
        ),
        "data.voice": "**Voice** of caller and operator, on two channels, and what they say",
        "data.voice/off": "**Voice**: none is recorded any more",
        "data.numbers": (
            "**Numbers**: the caller’s, where one comes; the number dialled; the operator’s extension"
        ),
        "data.call": (
            "**Receipt of the call**, recorded or not: date and times, outcome, the caller’s choice and how "
            "it was made, events, technical identifier"
        ),
        "data.analysis": "**Analysis sheet** of a call that was listened to: text and author",
        "data.uses": (
            "**Trace of uses**: who listened, copied, held or erased, when, why, under which reference, "
            "where a copy went; refused attempts as well"
        ),
        "data.uses/page": (
            "**Trace of uses**: who listened, copied, held or erased, by which login, when, why, under which "
            "reference, where a copy went; refused attempts as well; changes to accounts; logins, also "
            "refused ones, with the network address that they came from"
        ),
        "data.accounts": (
            "**Accounts of the page**: name, roles, language, public key; the password as an Argon2id hash, "
            "and what the second factor or a passkey is checked with; when the account was made and last "
            "used, and how many logins were refused since"
        ),
        "data.accounts/provider": (
            "**Accounts of the page**: name and groups as {provider:code} gives them, roles, language, "
            "public key; when the account was made and last used"
        ),
        "data.accounts/none": "**Accounts**: none, for there is no page",
        "data.lent_voices": (
            "**Lent voices** of colleagues ({listed} may call): phrases that they are asked to say, name,"
            " number, when they consented"
        ),
        "data.sensitive": (
            "**Special categories** (article 9), card numbers: none is sought; the operator pauses the "
            "recording by {pause:code}"
        ),
        "recipients.listeners": "**Listening**, by private key: {:people}",
        "recipients.listeners/nameless": "**Listening**, by private key: {:people}; name of a key: {todo}",
        "recipients.listeners/clear": (
            "**Listening**: whoever has access to the agent’s files, which are stored in clear"
        ),
        "recipients.authorities": (
            "**Authorities** that what is held as evidence serves, by its ground: {:named}"
        ),
        "recipients.authorities/none": (
            "**Authorities**: those that the law names; nothing is held for them"
        ),
        "recipients.login_provider": (
            "**Logins**: {issuer:code} learns who logs in, and when; it names the groups, which give the "
            "roles: {groups:groups}"
        ),
        "recipients.database": (
            "**Database** of several hosts, on {servers:code}: receipts, traces and sheets. Whoever runs it "
            "for the controller is a processor (article 28); outside the European Economic "
            "Area the guarantees of chapter V must be named here"
        ),
        "recipients.object_store": (
            "**Object store** {at:code}, in {bucket:code}: encrypted recordings and their sealed keys. "
            "Whoever runs it for the controller is a processor (article 28); outside the European Economic "
            "Area the guarantees of chapter V must be named here"
        ),
        "transfers.third_countries": "To third countries: the program makes none",
        "transfers.third_countries/stamped": (
            "To third countries: the program makes none; the time stamping authority ({time_stamps:code}) "
            "gets only a hash, and no personal data"
        ),
        "retention.recordings": "**Recordings**: {period:period} from the call on",
        "retention.recordings/justified": (
            "**Recordings**: {period:period} from the call on; justification: {justification}"
        ),
        "retention.receipts": (
            "**Receipts of calls**: {period:period}, then without the caller’s number and the operator; the "
            "time, the number that was dialled and the outcome stay"
        ),
        "retention.analysis": "**Analysis sheets**: {period:period} from their filing on",
        "retention.sound_after_analysis/on": (
            "**Sound of an analysed call**: erased as soon as its sheet is filed, unless it is held"
        ),
        "retention.sound_after_analysis/off": "**Sound of an analysed call**: kept as long as the others",
        "retention.uses": (
            "**Names in the trace of uses**: {period:period}, and as long as the recording exists"
        ),
        "retention.accounts": (
            "**Accounts of the page**: until they are removed; a login for {session_minutes} min without a "
            "click, and 12 h at most"
        ),
        "retention.holds": "**Evidence**: until the hold is released, reviewed on its date",
        "retention.holds/none": "**Evidence**: nothing is held beyond its date",
        "retention.lent_voices": (
            "**Lent voices**: {days} days from the consent on, at most; what was learnt from them goes "
            "with them"
        ),
        "retention.tombstones": (
            "**Afterwards** a line without personal data remains: that there was a call, when, what was "
            "decided, the hash of the file"
        ),
        "information.before_any_contact": (
            "Whoever may be recorded first hears a notice, to its end, before any contact with an operator; "
            "cut short, nothing is recorded"
        ),
        "rights.choice/objection": (
            "**Refusal** by key {digit:code}, during the notice and {window_s:seconds} after it; silence "
            "counts as no refusal, not as consent"
        ),
        "rights.choice/opt_in": (
            "**Consent** by key {accept_digit:code}, during the notice and {window_s:seconds} after it, "
            "refusal by key {digit:code}; silence allows nothing"
        ),
        "rights.by_voice": (
            "**Aloud**, refusal: {keywords:code}; whoever is not understood is asked: key "
            "{accept_digit:code} accepts, silence refuses"
        ),
        "rights.by_voice/accept": (
            "**Aloud**, refusal: {keywords:code}; consent: {accept_keywords:code}; whoever is not understood "
            "is asked: key {accept_digit:code} accepts, silence refuses"
        ),
        "rights.by_voice/off": "**Aloud**: neither refusal nor consent is heard",
        "rights.in_call": (
            "**During the call**: key {digit:code}, at any moment, stops the recording and erases it"
        ),
        "rights.in_call/aloud": (
            "**During the call**: key {digit:code}, or aloud {keywords:code}, at any moment, stops the "
            "recording and erases it"
        ),
        "rights.access": (
            "**Access**: a copy under the reference of the request, of both channels or the caller’s alone, "
            "as the data protection officer decides (article 15(3) and (4)); a call without a number is "
            "found by its reference, which the operator tells"
        ),
        "rights.erasure": (
            "**Erasure** before its date on request, with its reason and a certificate; refused as long "
            "as the recording is held as evidence"
        ),
        "rights.lent_voices": (
            "**Lent voices**: consent by key {consent:code} after information that is heard to its end "
            "(article 6(1)(a)); withdrawn at any time (`sipagent enrol --forget`), which erases the sound"
            " and what was learnt from it"
        ),
        "security.sealing/on": (
            "**Encryption** of new recordings from the first byte, to the keys named above ({recipients}); "
            "to record, the agent needs no private key"
        ),
        "security.sealing/off": "**Encryption** of new recordings: none, they are stored in clear",
        "security.sealed_rows/on": (
            "**Encryption in the shared database** of what leads to a person, under a key for each call that "
            "is kept elsewhere and goes with the call: no copy of the database can be read after that"
        ),
        "security.sealed_rows/off": "**Encryption** of numbers in the database: none by the agent",
        "security.signalling/on": "**Signalling** encrypted by the agent (TLS)",
        "security.signalling/off": "**Signalling**: not encrypted by the agent ({transport:code})",
        "security.media/off": "**Voice on the network**: not encrypted (SRTP {srtp:code})",
        "security.media/optional": (
            "**Voice on the network**: SRTP where the other side agrees ({srtp:code}), and its keys go by "
            "signalling that the agent does not encrypt"
        ),
        "security.media/optional_tls": (
            "**Voice on the network**: SRTP where the other side agrees ({srtp:code})"
        ),
        "security.media/required": (
            "**Voice on the network**: SRTP required ({srtp:code}), but its keys go by signalling that the "
            "agent does not encrypt"
        ),
        "security.media/required_tls": "**Voice on the network** encrypted: SRTP required ({srtp:code})",
        "security.fail_closed/on": (
            "**In doubt or on a fault** nothing is recorded: notice cut short, key missing, disk full"
        ),
        "security.stopping/erases": (
            "**Stopping by the operator**: {code:code} stops the recording and erases it"
        ),
        "security.stopping/keeps": (
            "**Stopping by the operator**: {code:code} stops the recording; what came before is kept"
        ),
        "security.pausing/on": "**Pausing by the operator**: {code:code} puts silence in its place",
        "security.purposes/on": (
            "**No use without a purpose** from the list ({purposes:named}), a request of access or the "
            "ground of a hold, and without a name"
        ),
        "security.trace/on": (
            "**Trace of every use** through the program, and of every refused one, with the system’s user"
        ),
        "security.four_eyes/on": (
            "**Holding as evidence** takes two names: who asks, and who approves; the program compares them, "
            "but does not verify who is there"
        ),
        "security.four_eyes/page": (
            "**Holding as evidence** takes two persons: on the page two accounts, of which who asked cannot "
            "approve; at a shell two names, which the program compares without checking who is there"
        ),
        "security.four_eyes/off": "**Holding as evidence**: impossible, for want of a ground",
        "security.purge/on": (
            "**Automatic erasure** in time: when the agent starts, then every hour; suspended, with an "
            "alert, while the clock is in doubt"
        ),
        "security.chain/on": (
            "**Chain of hashes** over receipts, recordings, uses and sheets: `verify` sees a line changed or "
            "missing"
        ),
        "security.time_stamps/on": (
            "**Time stamps** of the chain by an authority (RFC 3161): {authority:code}"
        ),
        "security.time_stamps/off": (
            "**Time stamps** of the chain by an authority (RFC 3161): none; whoever holds the database can "
            "write the whole chain anew"
        ),
        "security.logins/own": (
            "**Login to the page** by an account of one’s own, with a password and a second factor, or by a "
            "passkey that verifies the person; what an account may do is said by its roles, and what it may "
            "not leaves its line in the trace"
        ),
        "security.logins/provider": (
            "**Login to the page** by {provider:code}, which answers for the second factor; what a person "
            "may do is said by their roles, and what they may not leaves its line in the trace"
        ),
        "security.page_line/certificate": "**Page on the network** encrypted by the program (TLS)",
        "security.page_line/proxy": (
            "**Page on the network** encrypted by the proxy in front of it ({proxies:code}), if that is set "
            "so; not between the two"
        ),
        "security.page_line/loopback": "**Page** that only the machine itself can reach",
        "security.opened_by_listeners/on": (
            "**Listening by the page**: the server has no private key; it hands out sealed recordings, and "
            "each listener’s browser opens them with the listener’s own key"
        ),
        "security.opened_by_listeners/off": (
            "**Listening by the page**: recordings are handed out in clear, as they are stored"
        ),
        "information.notices": "**Notice ({language})**: “{words}”",
        "information.notices/numbers": "**Notice ({language})**, on {numbers:code}: “{words}”",
        "information.notices/keys": "**Notice ({language})**, by key {keys:code}: “{words}”",
        "information.notices/numbers_keys": (
            "**Notice ({language})**, on {numbers:code} or by key {keys:code}: “{words}”"
        ),
        "information.notices/wordless": (
            "**Notice ({language})**: its words, in the .txt beside the sound, {todo}"
        ),
    },
    by_hand=(
        "The date of this entry and of its updates.",
        (
            "Where callers find the rest of the information (article 13): rights, contacts, complaint to the "
            "supervisory authority."
        ),
        "Joint controllers and representative, where there are any (article 30(1)(a)).",
        "Processors: telephone carrier, host, maintenance (article 28), and where they are.",
        (
            "How operators, those who use recordings and their representatives were informed, before the "
            "service began."
        ),
        "The impact assessment, or why none is needed (article 35).",
        "What becomes of exported copies, of backups, and of the call logs of the operators’ phones.",
    ),
)


FRENCH = RegisterWords(
    introduction=(
        "Fiche du registre des activités de traitement (article 30 du RGPD), établie d’après la "
        "configuration en vigueur."
    ),
    to_complete="**à compléter**",
    names={
        "statistics": "statistiques",
        "quality": "qualité du service",
        "organisation": "organisation du service",
        "training": "formation des agents",
        "security": "sécurité",
        "evidence": "établissement de la preuve",
        "disciplinary": "procédure disciplinaire",
        "criminal": "procédure pénale",
        "access_request": "demande d’accès",
    },
    languages={"fr": "français", "en": "anglais", "de": "allemand", "es": "espagnol"},
    setting=set_french,
    headings={
        "controller": "Responsable du traitement (article 30.1.a)",
        "legal_basis": "Base légale (article 6.1)",
        "purposes": "Finalités du traitement (article 30.1.b)",
        "persons": "Catégories de personnes concernées (article 30.1.c)",
        "data": "Catégories de données personnelles (article 30.1.c)",
        "recipients": "Catégories de destinataires (article 30.1.d)",
        "transfers": "Transferts vers un pays tiers (article 30.1.e)",
        "retention": "Durées de conservation (article 30.1.f)",
        "information": "Information des personnes (article 13)",
        "rights": "Choix et droits des personnes (articles 7, 15, 17 et 21)",
        "security": "Mesures de sécurité techniques et organisationnelles (article 30.1.g)",
        "security/off": "Mesures que la configuration ne met pas en place, ou ne garantit pas",
        "by_hand": "À compléter à la main",
    },
    sentences={
        "processing.name": "# Enregistrement des appels : {}",
        "processing.lines": "**Lignes** : {:code}",
        "processing.lines/any": "**Lignes** : tout numéro dont les appels arrivent à l’agent",
        "processing.extent/off": (
            "**Étendue** : aucun appel n’est enregistré ; ce qui l’a été auparavant est gardé jusqu’à son "
            "terme"
        ),
        "processing.extent/all": (
            "**Étendue** : tous les appels, si le choix de l’appelant le permet ; justification : {todo}"
        ),
        "processing.extent/all_justified": (
            "**Étendue** : tous les appels, si le choix de l’appelant le permet ; justification : "
            "{justification}"
        ),
        "processing.extent/share": (
            "**Étendue** : {share:share} des appels, tirés au sort avant l’annonce, si le choix de l’appelant"
            " le permet"
        ),
        "processing.extent/share_justified": (
            "**Étendue** : {share:share} des appels, tirés au sort avant l’annonce, si le choix de l’appelant"
            " le permet ; justification : {justification}"
        ),
        "processing.extent/windows": (
            "**Étendue** : {windows:windows} ; le reste du temps {share:share} ; par tirage au sort avant "
            "l’annonce, si le choix de l’appelant le permet"
        ),
        "processing.extent/windows_justified": (
            "**Étendue** : {windows:windows} ; le reste du temps {share:share} ; par tirage au sort avant "
            "l’annonce, si le choix de l’appelant le permet ; justification : {justification}"
        ),
        "controller.name": "**Responsable du traitement** : {}",
        "controller.contact": "**Contact** : {}",
        "controller.contact/missing": "**Contact** : {todo}",
        "controller.contact/example": "**Contact** : {} est un exemple, {todo}",
        "dpo.contact": "**Délégué à la protection des données** : {}",
        "dpo.contact/missing": "**Délégué à la protection des données** : {todo}",
        "dpo.contact/example": "**Délégué à la protection des données** : {} est un exemple, {todo}",
        "legal_basis": "{}",
        "legal_basis/missing": "{todo}",
        "legal_basis/example": "{} est un exemple, {todo}",
        "purposes.uses": (
            "**Écoute et copie**, pour ces seules finalités : {:named} ; et pour répondre à la demande "
            "d’accès d’une personne"
        ),
        "purposes.testimony": (
            "**Preuve** : un enregistrement peut être conservé comme preuve, et alors écouté, pour ces seuls "
            "motifs : {:named}"
        ),
        "purposes.testimony/none": "**Preuve** : aucun motif de conservation n’est admis",
        "purposes.lent_voices": (
            "**Apprentissage de la détection des refus parlés**, et rien d’autre : la voix de collègues "
            "qui appellent le {extension:code} et y consentent ; jamais celle des appelants"
        ),
        "persons.categories": (
            "Appelants ; opérateurs qui leur répondent ; personnes qui écoutent, copient, font conserver ou "
            "effacent un enregistrement"
        ),
        "persons.categories/page": (
            "Appelants ; opérateurs qui leur répondent ; personnes qui écoutent, copient, font conserver ou "
            "effacent un enregistrement ; personnes qui ont un compte sur la page"
        ),
        "data.voice": "**Voix** de l’appelant et de l’opérateur, sur deux canaux, et ce qu’ils disent",
        "data.voice/off": "**Voix** : plus aucune n’est enregistrée",
        "data.numbers": (
            "**Numéros** : celui de l’appelant, s’il arrive ; le numéro composé ; le poste de l’opérateur"
        ),
        "data.call": (
            "**Reçu de l’appel**, enregistré ou non : date et heures, issue, choix de l’appelant et façon "
            "dont il l’a exprimé, événements, identifiant technique"
        ),
        "data.analysis": "**Fiche d’analyse** d’un appel écouté : texte et auteur",
        "data.uses": (
            "**Trace des usages** : qui a écouté, copié, fait conserver ou effacé, quand, pourquoi, sous "
            "quelle référence, où est allée une copie ; les refus aussi"
        ),
        "data.uses/page": (
            "**Trace des usages** : qui a écouté, copié, fait conserver ou effacé, par quel compte, quand, "
            "pourquoi, sous quelle référence, où est allée une copie ; les refus aussi ; les modifications "
            "des comptes ; les connexions, même refusées, avec l’adresse réseau dont elles viennent"
        ),
        "data.accounts": (
            "**Comptes de la page** : nom, rôles, langue, clé publique ; empreinte du mot de passe "
            "(Argon2id), et de quoi vérifier le second facteur ou une clé d’accès ; dates de création et de "
            "dernière connexion, nombre de connexions refusées depuis"
        ),
        "data.accounts/provider": (
            "**Comptes de la page** : nom et groupes tels que les donne {provider:code}, rôles, langue, clé "
            "publique ; dates de création et de dernière connexion"
        ),
        "data.accounts/none": "**Comptes** : aucun, il n’y a pas de page",
        "data.lent_voices": (
            "**Voix prêtées** par des collègues ({listed} peuvent appeler) : phrases qu’on leur demande "
            "de dire, nom, numéro, date de leur consentement"
        ),
        "data.sensitive": (
            "**Données sensibles** (article 9), numéros de carte : aucune de ces données n’est recherchée ; "
            "l’opérateur suspend l’enregistrement par {pause:code}"
        ),
        "recipients.listeners": "**Écoute**, par clé privée : {:people}",
        "recipients.listeners/nameless": "**Écoute**, par clé privée : {:people} ; nom d’une clé : {todo}",
        "recipients.listeners/clear": (
            "**Écoute** : quiconque a accès aux fichiers de l’agent, stockés en clair"
        ),
        "recipients.authorities": (
            "**Autorités** auxquelles sert ce qui est conservé comme preuve, selon son motif : {:named}"
        ),
        "recipients.authorities/none": (
            "**Autorités** : celles que désigne la loi ; rien n’est conservé pour elles"
        ),
        "recipients.login_provider": (
            "**Connexions** : {issuer:code} apprend qui se connecte, et quand ; il nomme les groupes, qui "
            "donnent les rôles : {groups:groups}"
        ),
        "recipients.database": (
            "**Base de données** de plusieurs hôtes, sur {servers:code} : reçus, traces et fiches. Qui "
            "l’exploite pour le responsable est un sous-traitant (article 28) ; hors de l’Espace économique "
            "européen, les garanties du chapitre V sont à indiquer ici"
        ),
        "recipients.object_store": (
            "**Stockage d’objets** {at:code}, dans {bucket:code} : enregistrements chiffrés et leurs clés "
            "scellées. Qui l’exploite pour le responsable est un sous-traitant (article 28) ; hors de "
            "l’Espace économique européen, les garanties du chapitre V sont à indiquer ici"
        ),
        "transfers.third_countries": "Aucun du fait du programme",
        "transfers.third_countries/stamped": (
            "Aucun du fait du programme ; l’autorité d’horodatage ({time_stamps:code}) ne reçoit qu’une "
            "empreinte, sans donnée personnelle"
        ),
        "retention.recordings": "**Enregistrements** : {period:period} à compter de l’appel",
        "retention.recordings/justified": (
            "**Enregistrements** : {period:period} à compter de l’appel ; justification : {justification}"
        ),
        "retention.receipts": (
            "**Reçus d’appel** : {period:period}, puis sans le numéro de l’appelant ni l’opérateur ; "
            "l’heure, le numéro composé et l’issue restent"
        ),
        "retention.analysis": "**Fiches d’analyse** : {period:period} à compter de leur dépôt",
        "retention.sound_after_analysis/on": (
            "**Son d’un appel analysé** : effacé dès que sa fiche est déposée, sauf s’il sert de preuve"
        ),
        "retention.sound_after_analysis/off": (
            "**Son d’un appel analysé** : gardé aussi longtemps que les autres"
        ),
        "retention.uses": (
            "**Noms dans la trace des usages** : {period:period}, et tant que l’enregistrement existe"
        ),
        "retention.accounts": (
            "**Comptes de la page** : jusqu’à leur suppression ; une connexion, {session_minutes} min sans "
            "clic, et 12 h au plus"
        ),
        "retention.holds": "**Preuves** : jusqu’à la levée de la conservation, réexaminée à la date fixée",
        "retention.holds/none": "**Preuves** : aucune conservation au-delà du terme",
        "retention.lent_voices": (
            "**Voix prêtées** : {days} jours au plus à compter du consentement ; ce qui en a été appris "
            "disparaît avec elles"
        ),
        "retention.tombstones": (
            "**Ensuite**, il reste une ligne sans donnée personnelle : qu’il y a eu un appel, quand, ce qui "
            "a été décidé, l’empreinte du fichier"
        ),
        "information.before_any_contact": (
            "Toute personne qui peut être enregistrée entend d’abord une annonce, jusqu’au bout, avant tout "
            "contact avec un opérateur ; si l’annonce est interrompue, rien n’est enregistré"
        ),
        "rights.choice/objection": (
            "**Refus** par la touche {digit:code}, pendant l’annonce et {window_s:seconds} après ; le silence"
            " vaut absence de refus, et non consentement"
        ),
        "rights.choice/opt_in": (
            "**Accord** par la touche {accept_digit:code}, pendant l’annonce et {window_s:seconds} après, "
            "refus par la touche {digit:code} ; le silence n’autorise rien"
        ),
        "rights.by_voice": (
            "**À voix haute**, refus : {keywords:code} ; l’appelant qui n’est pas compris est interrogé : la "
            "touche {accept_digit:code} accepte, le silence refuse"
        ),
        "rights.by_voice/accept": (
            "**À voix haute**, refus : {keywords:code} ; accord : {accept_keywords:code} ; l’appelant qui "
            "n’est pas compris est interrogé : la touche {accept_digit:code} accepte, le silence refuse"
        ),
        "rights.by_voice/off": "**À voix haute** : ni refus ni accord ne sont entendus",
        "rights.in_call": (
            "**En cours d’appel** : la touche {digit:code}, à tout moment, arrête l’enregistrement et "
            "l’efface"
        ),
        "rights.in_call/aloud": (
            "**En cours d’appel** : la touche {digit:code}, ou à voix haute {keywords:code}, à tout moment, "
            "arrête l’enregistrement et l’efface"
        ),
        "rights.access": (
            "**Accès** : copie sous la référence de la demande, des deux canaux ou du seul canal de "
            "l’appelant, selon ce que décide le délégué à la protection des données (articles 15.3 et "
            "15.4) ; un appel sans numéro se retrouve par sa référence, que "
            "l’opérateur donne"
        ),
        "rights.erasure": (
            "**Effacement** avant terme, sur demande, avec son motif et une attestation ; refusé tant que "
            "l’enregistrement sert de preuve"
        ),
        "rights.lent_voices": (
            "**Voix prêtées** : consentement par la touche {consent:code}, après une information entendue"
            " jusqu’au bout (article 6(1)(a)) ; retiré à tout moment (`sipagent enrol --forget`), ce qui "
            "efface le son et ce qui en a été appris"
        ),
        "security.sealing/on": (
            "**Chiffrement** des nouveaux enregistrements dès le premier octet, pour les clés nommées "
            "ci-dessus ({recipients}) ; pour enregistrer, l’agent n’a besoin d’aucune clé privée"
        ),
        "security.sealing/off": (
            "**Chiffrement** des nouveaux enregistrements : aucun, ils sont stockés en clair"
        ),
        "security.sealed_rows/on": (
            "**Chiffrement, dans la base partagée,** de ce qui mène à une personne, sous une clé par appel, "
            "gardée ailleurs, qui disparaît avec l’appel : ensuite aucune copie de la base n’est lisible"
        ),
        "security.sealed_rows/off": (
            "**Chiffrement** des numéros dans la base de données : aucun du fait de l’agent"
        ),
        "security.signalling/on": "**Signalisation** chiffrée par l’agent (TLS)",
        "security.signalling/off": "**Signalisation** : non chiffrée par l’agent ({transport:code})",
        "security.media/off": "**Voix sur le réseau** : non chiffrée (SRTP {srtp:code})",
        "security.media/optional": (
            "**Voix sur le réseau** : SRTP si l’autre côté l’accepte ({srtp:code}), et ses clés passent par "
            "une signalisation que l’agent ne chiffre pas"
        ),
        "security.media/optional_tls": (
            "**Voix sur le réseau** : SRTP si l’autre côté l’accepte ({srtp:code})"
        ),
        "security.media/required": (
            "**Voix sur le réseau** : SRTP exigé ({srtp:code}), mais ses clés passent par une signalisation "
            "que l’agent ne chiffre pas"
        ),
        "security.media/required_tls": "**Voix sur le réseau** chiffrée : SRTP exigé ({srtp:code})",
        "security.fail_closed/on": (
            "**En cas de doute ou de panne**, rien n’est enregistré : annonce interrompue, clé absente, "
            "disque plein"
        ),
        "security.stopping/erases": (
            "**Arrêt par l’opérateur** : {code:code} arrête l’enregistrement et l’efface"
        ),
        "security.stopping/keeps": (
            "**Arrêt par l’opérateur** : {code:code} arrête l’enregistrement ; ce qui précède est gardé"
        ),
        "security.pausing/on": "**Pause par l’opérateur** : {code:code} met du silence à la place",
        "security.purposes/on": (
            "**Aucun usage sans nom ni sans finalité** : {purposes:named}, demande d’accès ou motif de "
            "conservation"
        ),
        "security.trace/on": (
            "**Trace de chaque usage** par le programme, et de chaque usage refusé, avec l’utilisateur du "
            "système"
        ),
        "security.four_eyes/on": (
            "**Conservation comme preuve** à deux noms : la personne qui la demande et celle qui "
            "l’approuve ; le programme compare ces noms, mais ne vérifie pas qui est là"
        ),
        "security.four_eyes/page": (
            "**Conservation comme preuve** à deux personnes : sur la page, deux comptes, et qui demande ne "
            "peut pas approuver ; en ligne de commande, deux noms, que le programme compare sans vérifier "
            "qui est là"
        ),
        "security.four_eyes/off": "**Conservation comme preuve** : impossible, faute de motif",
        "security.purge/on": (
            "**Effacement automatique** à terme : au démarrage de l’agent, puis toutes les heures ; "
            "suspendu, avec une alerte, quand l’horloge est douteuse"
        ),
        "security.chain/on": (
            "**Chaîne d’empreintes** sur les reçus, enregistrements, usages et fiches : `verify` y voit "
            "une ligne changée ou manquante"
        ),
        "security.time_stamps/on": (
            "**Horodatage** de la chaîne par une autorité (RFC 3161) : {authority:code}"
        ),
        "security.time_stamps/off": (
            "**Horodatage** de la chaîne par une autorité (RFC 3161) : aucun ; qui dispose de la base "
            "peut réécrire la chaîne entière"
        ),
        "security.logins/own": (
            "**Connexion à la page** par un compte nominatif, avec mot de passe et second facteur, ou "
            "par une clé d’accès qui vérifie la personne ; ce que peut faire un compte dépend de ses rôles, "
            "et ce qui lui est refusé laisse une ligne dans la trace"
        ),
        "security.logins/provider": (
            "**Connexion à la page** par {provider:code}, qui répond du second facteur ; ce que peut faire "
            "une personne dépend de ses rôles, et ce qui lui est refusé laisse une ligne dans la trace"
        ),
        "security.page_line/certificate": "**Page sur le réseau** chiffrée par le programme (TLS)",
        "security.page_line/proxy": (
            "**Page sur le réseau** chiffrée par le serveur mandataire placé devant elle ({proxies:code}), "
            "s’il est réglé ainsi ; pas entre les deux"
        ),
        "security.page_line/loopback": "**Page** que seule la machine elle-même peut atteindre",
        "security.opened_by_listeners/on": (
            "**Écoute par la page** : le serveur n’a aucune clé privée ; il remet les enregistrements "
            "scellés, et c’est le navigateur de chaque personne qui les ouvre, avec sa propre clé"
        ),
        "security.opened_by_listeners/off": (
            "**Écoute par la page** : les enregistrements sont remis en clair, comme ils sont stockés"
        ),
        "information.notices": "**Annonce ({language})** : « {words} »",
        "information.notices/numbers": "**Annonce ({language})**, sur {numbers:code} : « {words} »",
        "information.notices/keys": "**Annonce ({language})**, sur la touche {keys:code} : « {words} »",
        "information.notices/numbers_keys": (
            "**Annonce ({language})**, sur {numbers:code} ou par la touche {keys:code} : « {words} »"
        ),
        "information.notices/wordless": (
            "**Annonce ({language})** : son texte, dans le .txt à côté du son, {todo}"
        ),
    },
    by_hand=(
        "La date de cette fiche et de ses mises à jour.",
        (
            "Où les appelants trouvent le reste de l’information (article 13) : droits, contacts, "
            "réclamation auprès de l’autorité de contrôle."
        ),
        "Les responsables conjoints et le représentant, s’il y en a (article 30.1.a).",
        (
            "Les sous-traitants (article 28) : opérateur téléphonique, hébergeur, maintenance, et où ils se "
            "trouvent."
        ),
        (
            "L’information des opérateurs, des personnes qui se servent des enregistrements et de leurs "
            "représentants, avant la mise en service."
        ),
        "L’analyse d’impact relative à la protection des données, ou pourquoi il n’en faut pas (article 35).",
        "Ce que deviennent les copies exportées, les sauvegardes et les journaux d’appels des postes.",
    ),
)


LANGUAGES: Mapping[str, RegisterWords] = {"fr": FRENCH, "en": ENGLISH}
BEGINS = re.compile(r"<!-- sipagent register: ([a-z]{2}) -->")
ENDS = "<!-- sipagent register: end -->"

_FRENCH_UNITS = {
    "day": ("jour", "jours"),
    "week": ("semaine", "semaines"),
    "month": ("mois", "mois"),
    "year": ("an", "ans"),
}
_ENGLISH_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_FRENCH_DAYS = ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche")


@dataclass(frozen=True, slots=True)
class EntryLine:
    """A line of the entry, and the keys of config.toml that its statement rests on."""

    text: str
    keys: tuple[str, ...] = ()


def markdown(entry: RegisterEntry, language: str) -> str:
    """The whole text, its first and last lines the two comments. `language` is one of LANGUAGES."""
    return "\n".join(line.text for line in lines(entry, language)) + "\n"


def lines(entry: RegisterEntry, language: str) -> Iterator[EntryLine]:
    """The text of the entry line by line, each with the keys that it rests on."""
    words = LANGUAGES[language]
    for line in _lines(entry, words, _Writing(words, french=language == "fr")):
        yield EntryLine(words.setting(line.text), line.keys)


def _lines(entry: RegisterEntry, words: RegisterWords, writing: "_Writing") -> Iterator[EntryLine]:
    title, *rest = entry.statements
    yield EntryLine(f"<!-- sipagent register: {writing.language} -->")
    yield _line(title, words, writing, bullet="")
    yield from map(EntryLine, ("", words.introduction, ""))
    yield from _sections([one for one in rest if not _is_off(one)], words, writing)
    yield from _heading(words, "security/off")
    yield from (_line(one, words, writing) for one in rest if _is_off(one))
    yield from _heading(words, "by_hand")
    yield from (EntryLine(f"- {text}") for text in words.by_hand)
    yield from map(EntryLine, ("", ENDS))


def _is_off(statement: Statement) -> bool:
    return isinstance(statement.value, dict) and statement.value.get("on") is False


def _sections(
    statements: Iterable[Statement], words: RegisterWords, writing: "_Writing"
) -> Iterator[EntryLine]:
    section = ""
    for statement in statements:
        if statement.section != section:
            section = statement.section
            yield from _heading(words, section)
        yield _line(statement, words, writing)


def _heading(words: RegisterWords, section: str) -> Iterator[EntryLine]:
    if section in words.headings:
        yield from map(EntryLine, ("", f"## {words.headings[section]}", ""))


def _line(statement: Statement, words: RegisterWords, writing: "_Writing", bullet: str = "- ") -> EntryLine:
    value = statement.value
    fields: dict[str, Any] = dict(value) if isinstance(value, dict) else {}
    language = statement.name.rpartition(".")[2]
    fields["language"] = words.languages.get(language, language)
    text = writing.vformat(sentence(statement, words), (value,), fields)
    return EntryLine(bullet + text, statement.keys)


class _Writing(Formatter):
    """How a statement's values are written: the word after the colon in a brace gives the format."""

    def __init__(self, words: RegisterWords, *, french: bool) -> None:
        self._words = words
        self._french = french

    @property
    def language(self) -> str:
        """The tag that the entry begins with."""
        return "fr" if self._french else "en"

    def format_field(self, value: Any, format_spec: str) -> str:
        """Write one value."""
        match format_spec:
            case "code" | "named":
                write = _code if format_spec == "code" else self._named
                return ", ".join(map(write, value if isinstance(value, list) else [value]))
            case "period":
                return self._period(value)
            case "share" | "seconds":
                return self._amount(value, format_spec)
            case "windows":
                return ("; ", " ; ")[self._french].join(map(self._window, value))
            case "people" | "groups":
                return ", ".join(map(_person if format_spec == "people" else _group, value))
            case _:
                return _prose(str(value))

    def _number(self, value: float) -> str:
        text = f"{value:.6g}"
        return text.replace(".", ",") if self._french else text

    def _amount(self, value: float, what: str) -> str:
        if what == "seconds":
            return f"{self._number(value)}{WIDE if self._french else ' '}s"
        return self._number(value * 100) + (" %" if self._french else "%")

    def _named(self, code: str) -> str:
        """``qualité du service (`quality`)``; the code alone if it has no other name."""
        name = self._words.names.get(code)
        return f"{name} ({_code(code)})" if name else _code(code)

    def _window(self, window: dict[str, Any]) -> str:
        """``10% of the calls (Monday `09:00-10:00`)``, or `10 % des appels (lundi, de 9 h à 10 h)`."""
        names = dict(zip(DAYS, _FRENCH_DAYS if self._french else _ENGLISH_DAYS, strict=True))
        days = ", ".join(names[day] for day in window["days"])
        calls = "des appels" if self._french else "of the calls"
        hours = f", {_french_hours(window['hours'])}" if self._french else f" {_code(window['hours'])}"
        return f"{self._amount(window['share'], 'share')} {calls} ({days}{hours})"

    def _period(self, period: str) -> str:
        """`6 months` in each language."""
        count, unit = period.split()
        if not self._french:
            return period
        one, several = _FRENCH_UNITS[unit.removesuffix("s")]
        return f"{count}{WIDE}{one if count == '1' else several}"


def _french_hours(hours: str) -> str:
    """`de 9 h à 10 h 30, de 14 h à 15 h` of `09:00-10:30,14:00-15:00`."""
    if hours == "00:00-24:00":
        return "toute la journée"
    spans = (span.split("-") for span in hours.split(","))
    return ", ".join(f"de {_french_time(first)} à {_french_time(last)}" for first, last in spans)


def _french_time(time: str) -> str:
    hour, minute = time.split(":")
    return f"{int(hour)}{WIDE}h" + (f"{WIDE}{minute}" if minute != "00" else "")


def _person(one: dict[str, Any]) -> str:
    return f"{_prose(one['name'] or '–')} ({_code(one['key'])})"


def _group(one: dict[str, Any]) -> str:
    return f"{_code(one['group'])} ({_code(one['role'])})"


def _prose(text: str) -> str:
    """A text with escapes for what Markdown would take as markup."""
    return re.sub(r"([\\`*_\[\]<>#|~&])", r"\\\1", text)


def _code(text: str) -> str:
    """A word of the configuration, literally (CommonMark 6.1)."""
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}"
