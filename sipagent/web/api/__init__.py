"""The interface for programs (/api/v1): JSON as the commands give it, and a document that describes it.

A module for each subject. A function here reads what is asked, asks `retention`, and gives what it says; each
`Operation` says what is read and answered, and `openapi` makes the OpenAPI document of them.
"""
