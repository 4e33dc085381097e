"""The page: people who have no shell list, listen, approve and answer, each by a login of their own.

It is a process of its own (`sipagent web`). What it does with what is kept, it asks of `retention`, as the
commands do; here are only logins, addresses, pages, and the interface for programs. It never holds a key that
opens a recording: the browser opens them.
"""
