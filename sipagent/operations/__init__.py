"""Each act on what is kept, once: for the command line, the page and the interface for programs.

An operation is a function: it is given a request, a frozen value, asks the rule (`retention`), leaves a line
in the trace whether it is done, refused or has failed, and returns a frozen value whose fields are its JSON.
What a rule refuses is a RuleError, which each face turns into its own form in one place.

    holds      hold, renew, release; list what is on hold
    approvals  ask another login for a hold, its end or an export; approve, refuse, withdraw
    notes      file an analysis
    accounts   make, change and end accounts and tokens
    deletion   forget a call before its time
    tracing    the line in the trace of what is refused or fails
"""
