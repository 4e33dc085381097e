"""What the register's entry says, in English: see `words`."""

from sipagent.article30.words import RegisterWords

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
