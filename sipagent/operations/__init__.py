"""Each act on what is kept, once: for the command line, the page and the interface for programs.

An operation is a function: it is given a request, a frozen value, asks the rule (`retention`), leaves a line
in the trace whether it is done, refused or has failed, and returns a frozen value whose fields are its JSON.

    uses       play a recording, or copy it, for a purpose; file the analysis of what was heard
    vcon       a call as a signed vCon, with or without its sound
    approvals  hold, renew, release; ask another login for that, or for an export; approve, refuse, withdraw
    persons    all that is known of one call; forget calls before their time; find a person's, say that they
               were told of them, forget them
    accounts   make, change and end accounts and tokens
    today      close for a while, or have callers hear a message before the notice
    purge      remove what has expired, as a person asks for it
    verify     compare all that is kept with its chain; have the chain stamped; give a caller a receipt
    statistics the figures of a period; the draws of the sample, again
    register   the entry for the register: made, written, compared
    tracing    the line in the trace of what is refused or fails
    parsing    what people type, as values

What a rule refuses is a RuleError, what cannot be read a FieldError, a file that cannot be written or erased
is Unfinished. Each face turns them into its own form in one place: `cli.program` and `cli.options`,
`web.guard` (`failure`, `unfit`, and `form_entry` for the forms of pages).
"""
